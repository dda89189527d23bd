/// A pre-tokenizer of llama.cpp, and the definitions in tokenizer.json that are equivalent to it.
package struct KnownPreTokenizer: Sendable {
  /// The values of `tokenizer.ggml.pre` that stand for it; Pleat writes the first one.
  let names: [String]
  /// The equivalent definitions; each is a list of patterns that are applied in order.
  let definitions: [[String]]
  /// Whether a word that is a token is taken whole, without applying merges.
  var ignoresMerges = false
  /// A note on what llama.cpp's own pattern does differently; nil if nothing.
  var difference: String?

  /// The patterns of GPT-4, with those for the letters of a word and for digits.
  ///
  /// They are the long and the short form, which split every text alike: `(?i:[sdmt]|…)` has the
  /// alternatives of `(?i:'s|'t|…)`, backtracking into the possessive quantifiers could not succeed,
  /// and `\s*[\r\n]` ends at the last line break, as `\s*[\r\n]+` does.
  package static func words(_ letters: String, _ digits: String) -> [[String]] {
    [
      [
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?"# + letters + "|" + digits
          + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
      ],
      [
        #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+"# + letters + "|" + digits
          + #"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#
      ],
    ]
  }

  /// The pattern of GPT-4o, with those for the suffix of a word and for digits.
  ///
  /// A word is a run of letters whose lowercase ones come last.
  package static func cases(_ suffix: String, _ digits: String) -> [[String]] {
    let start = #"[^\r\n\p{L}\p{N}]?"#
    let (upper, lower) = (#"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#)
    return [
      [
        "\(start)\(upper)*\(lower)+\(suffix)|\(start)\(upper)+\(lower)*\(suffix)|\(digits)"
          + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
      ]
    ]
  }

  private static let casesDifference =
    "when llama.cpp splits words, it distinguishes lowercase and uppercase letters only in ASCII, and "
    + "it ends words at combining marks: ids of such words may differ"

  /// The note on pre-tokenizers that split spaces of Unicode from what follows.
  static let spacesDifference =
    "when llama.cpp splits words, spaces of Unicode from U+2000 to U+3000 stay with the word that "
    + "follows: ids of such words may differ"

  /// The pattern of Qwen 3.5.
  package static let markedWords =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"#
    + #"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  // Runs of Han characters, or words as in GPT-4o of other letters.
  private static let kimiWords = {
    let start = #"[^\r\n\p{L}\p{N}]?"#
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#
    let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#
    let suffix = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    return "\(start)\(upper)*\(lower)+\(suffix)|\(start)\(upper)+\(lower)*\(suffix)"
  }()

  /// The pattern of Kimi K2.
  static let kimiPattern =
    #"[\p{Han}]+|"# + kimiWords
    + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// All known pre-tokenizers; each has the pattern that src/llama-vocab.cpp has for its first name.
  static let all = usual + others

  private static let usual = [
    // GPT-2, and all tokenizers with ByteLevel alone: Phi-2, OLMo, MPT.
    KnownPreTokenizer(
      names: [
        "gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "gigachat",
        "a.x-4.0", "mellum", "modern-bert", "exaone4",
      ], definitions: [[PreTokenizer.gpt2Pattern]]),
    // SmolLM, StarCoder, Command R: single digits, then GPT-2.
    KnownPreTokenizer(
      names: [
        "smollm", "starcoder", "command-r", "refact", "codeshell", "exaone", "minerva-7b",
        "mellum2",
      ], definitions: [[#"\p{N}"#, PreTokenizer.gpt2Pattern]]),
    // Llama 3: up to three digits together; words that are tokens are taken whole.
    KnownPreTokenizer(
      names: [
        "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano", "glm4", "glm5",
      ], definitions: words(#"\p{L}+"#, #"\p{N}{1,3}"#), ignoresMerges: true),
    // GPT-4, DBRX, Phi 4: as Llama 3, but merges apply to all words.
    KnownPreTokenizer(
      names: ["dbrx", "smaug-bpe", "chatglm-bpe"],
      definitions: words(#"\p{L}+"#, #"\p{N}{1,3}"#)),
    // Qwen 2, 2.5 and 3, and DeepSeek R1 on Qwen: as GPT-4, but with single digits.
    KnownPreTokenizer(
      names: [
        "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan",
        "solar-open", "grok-2", "bailingmoe", "bailingmoe2", "llada-moe",
      ], definitions: words(#"\p{L}+"#, #"\p{N}"#)),
    // Qwen 3.5: as Qwen 2, but combining marks are part of words.
    KnownPreTokenizer(
      names: ["qwen35"],
      definitions: [[markedWords]]),
    // GPT-4o, Llama 4, Phi 4 mini.
    KnownPreTokenizer(
      names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
      definitions: cases("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", #"\p{N}{1,3}"#),
      difference: casesDifference),
    // Mistral's tekken: Nemo, Ministral, Small 3.
    KnownPreTokenizer(
      names: ["tekken"], definitions: cases("", #"\p{N}"#), ignoresMerges: true,
      difference: casesDifference),
    // DeepSeek Coder.
    KnownPreTokenizer(
      names: ["deepseek-coder"],
      definitions: [["[\r\n]", #"\s?\p{L}+"#, #"\s?\p{P}+"#, "[一-龥ࠀ-一가-퟿]+", #"\p{N}"#]],
      difference: spacesDifference),
    // DeepSeek V3 and R1.
    KnownPreTokenizer(
      names: ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
      definitions: [
        [
          #"\p{N}{1,3}"#, "[一-龥぀-ゟ゠-ヿ]+",
          ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##
            + "|[^\r\n" + #"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"# + "[\r\n]*"
            + #"|\s*"# + "[\r\n]+" + #"|\s+(?!\S)|\s+"#,
        ]
      ]),
    // Seed Coder: punctuation does not include line breaks.
    KnownPreTokenizer(
      names: ["seed-coder"],
      definitions: [
        [
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n" + #"\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}"#
            + "\r\n]+" + #"|\s*"# + "[\r\n]+" + #"|\s+(?!\S)|\s+"#
        ]
      ]),
    // Kimi K2.
    KnownPreTokenizer(
      names: ["kimi-k2"], definitions: [[kimiPattern]],
      difference: caselessDifference + "; it ends words at combining marks, and knows only "
        + "ideographs as Han characters"),
    // MiniCPM 5: up to three digits together from the left, then words.
    KnownPreTokenizer(
      names: ["minicpm5"],
      definitions: words(#"\p{L}+"#, #"\p{N}+"#).map { [#"\p{N}{1,3}"#] + $0 },
      ignoresMerges: true),
  ]
}
