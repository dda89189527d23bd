/// Pre-tokenizers of a few models.
extension KnownPreTokenizer {
  /// The endings of English words.
  package static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let spaces = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
  /// Qwen 2 without the endings of English words.
  package static let plainWords =
    #"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + spaces
  private static let ideographs = "[一-龥぀-ゟ゠-ヿ]+"

  /// Groups of three digits from the right, of numbers that no letter follows.
  package static let digitGroups = #"\d{1,3}(?=(?:\d{3})*\b)"#

  // Words with the punctuation of several languages, of BLOOM and Viking.
  private static func bloom(_ more: [String]) -> [[String]] {
    // One set of characters within another adds its characters.
    [" ?[^(\\s|[.,!?…。，、।۔،])]+", " ?[^(\\s|.,!?…。，、।۔،)]+"].map { [$0] + more }
  }

  // Letters with lowercase and uppercase forms, of DeepSeek's first models.
  private static let casedLetters =
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ"
    + "-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ"
    + "\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚ"
    + "ａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"

  private static func deepSeek(_ digits: String) -> [[String]] {
    [
      [
        "[\r\n]", "\\s?[\(casedLetters)]+", "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+", "\\s+$",
        "[一-龥ࠀ-一가-\u{D7FF}]+", digits,
      ]
    ]
  }

  /// The note on pre-tokenizers whose patterns llama.cpp applies without regard to case.
  static let caselessDifference =
    "when llama.cpp splits words, it does not distinguish lowercase and uppercase letters: ids of "
    + "words with both may differ"

  /// The pre-tokenizers.
  static let others = [
    // Jais 2: as Llama 3, but long runs of spaces are cut.
    KnownPreTokenizer(
      names: ["jais-2"],
      definitions: [
        [
          contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
            + #"|\s*[\r\n]+"#
            + [512, 256, 128, 64, 32, 16, 8, 4].map { #"|\s{\#($0)}(?!\S)"# }.joined()
            + #"|\s{1,2}(?!\S)|\s{1}"#
        ]
      ]),
    // K-EXAONE: words with spaces between them may be together.
    KnownPreTokenizer(
      names: ["exaone-moe"],
      definitions: [
        [
          contractions + #"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"#
            + #"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"#
        ]
      ]),
    // Youtu: scripts of East Asia, then GPT-4o with single digits.
    KnownPreTokenizer(
      names: ["youtu"],
      definitions: cases(contractions + "?", #"\p{N}"#).map {
        ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + ideographs] + $0
      }, ignoresMerges: true, difference: caselessDifference),
    // Tiny Aya: groups of three digits from the right, then GPT-4o.
    KnownPreTokenizer(
      names: ["tiny_aya", "cohere2moe"],
      definitions: cases(contractions + "?", #"\p{N}{1,3}"#).map {
        [digitGroups] + $0
      },
      difference: caselessDifference + "; it does not split what precedes a number from its first "
        + "digits, and it also groups digits that letters follow"),
    // SuperBPE: only numbers are split, in groups of three digits from the right.
    KnownPreTokenizer(
      names: ["superbpe"], definitions: [[#"\p{N}+"#, #"(?=(\d{3})+(?!\d))"#]]),
    KnownPreTokenizer(names: ["ufakzeka"], definitions: [[plainWords]]),
    // Laguna: lines, then Qwen 2.
    KnownPreTokenizer(
      names: ["laguna"],
      definitions: [[#"[^\n]+|[\n]+"#, contractions + "|" + plainWords]]),
    // Spark X2.5: as DeepSeek V3, but with single line breaks and digits.
    KnownPreTokenizer(
      names: ["spark2_5"],
      definitions: [
        [
          #"\p{N}{1,3}"#, ideographs,
          ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##
            + "|[^\r\n" + #"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"#
            + "|[\r\n]" + #"|\s+(?!\S)|\s+"#, #"\p{N}"#,
        ]
      ]),
    KnownPreTokenizer(
      names: ["deepseek-llm"], definitions: deepSeek(#"\p{N}+"#), difference: spacesDifference),
    KnownPreTokenizer(
      names: ["deepseek-llm"], definitions: deepSeek(#"\p{N}"#),
      difference: spacesDifference + "; it does not split numbers into digits: their ids differ if "
        + "tokens have several digits"),
    // Granite's embedding models: as GPT-4o, but words that are tokens are taken whole.
    KnownPreTokenizer(
      names: ["granite-embed-multi-97m"],
      definitions: cases(contractions + "?", #"\p{N}{1,3}"#), ignoresMerges: true,
      difference: "when llama.cpp splits words, it distinguishes lowercase and uppercase letters "
        + "only in ASCII: ids of words with both may differ"),
    // Falcon: punctuation, then GPT-2, then groups of three digits.
    KnownPreTokenizer(
      names: ["falcon"],
      definitions: [
        [#"[\p{P}\$\+<=>\^~\|`]+"#, PreTokenizer.gpt2Pattern, PreTokenizer.threeDigits]
      ]),
    KnownPreTokenizer(
      names: ["falcon"],
      definitions: [
        [
          PreTokenizer.punctuationPattern + "+", PreTokenizer.gpt2Pattern,
          PreTokenizer.letterDigits, PreTokenizer.threeDigits,
        ]
      ],
      difference: "llama.cpp does not split digits from a space before them, nor characters at "
        + "bytes that byte-level tokenizers write as ² ³ ¹ ¼ ½ ¾: ids differ if tokens have both"),
    KnownPreTokenizer(
      names: ["chameleon"],
      definitions: ["\t\n", #"\t\n"#].map { space in
        [
          "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\(space)]|    |  )",
          #"\p{N}"#, PreTokenizer.punctuationPattern, PreTokenizer.gpt2Pattern,
        ]
      }),
    KnownPreTokenizer(names: ["bloom", "poro-chat", "gpt3-finnish"], definitions: bloom([])),
    KnownPreTokenizer(names: ["viking"], definitions: bloom([#"\p{N}"#])),
  ]
}
