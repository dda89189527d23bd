internal import Bytes
package import TensorModel

/// The tokenizer of a llama.cpp model, as files of Hugging Face.
///
/// The files give the ids that llama.cpp gives for the same text. Where llama.cpp differs from the
/// original tokenizer, as in the normalization of text, they follow llama.cpp: a GGUF file does not
/// say what the original does.
package struct TokenizerDocuments: Sendable {
  /// The files: names and contents.
  package private(set) var files: [(name: String, content: [UInt8])] = []
  /// Notes for the user.
  package private(set) var notes: [String] = []

  static let hint =
    "--tokenizer-from FOLDER uses the tokenizer of a folder of the same model"
  private static let modelKey = "tokenizer.ggml.model"
  private static let preKey = "tokenizer.ggml.pre"
  static let mark: JSONValue = "▁"

  /// Reads the tokenizer of a GGUF file.
  ///
  /// Throws `unsupported` for kinds of tokenizers and pre-tokenizers that Pleat cannot write,
  /// `malformed` for lists that are missing or contradict each other and for ids outside the
  /// vocabulary, and `limit` for tokens that are too long.
  package init(_ metadata: Metadata) throws(ModelError) {
    let document: FastDocument
    let special: ListedTokens
    switch metadata[Self.modelKey]?.text {
    case "gpt2":
      let pre = metadata[Self.preKey]?.text
      let known = KnownPreTokenizer.all.first { $0.names.contains(pre ?? "") }
      guard let pre, let known else { throw Self.unknownPreTokenizer(pre) }
      let vocabulary = try ListedVocabulary(metadata, scores: false)
      special = try ListedTokens(
        metadata, vocabulary, addsStart: PreTokenizerName.addingStart.contains(pre),
        embedding: try Self.embedding(metadata))
      let merges = try MergePairs(metadata, vocabulary)
      document = Self.byteLevel(known, vocabulary, merges, special)
    case "llama":
      let vocabulary = try ListedVocabulary(metadata, scores: true)
      special = try ListedTokens(
        metadata, vocabulary, addsStart: true, defaults: ["unk": 0, "bos": 1, "eos": 2])
      let merges = try MergePairs(scoresOf: vocabulary)
      let addsSpace = try metadata.flag("tokenizer.ggml.add_space_prefix") ?? true
      document = Self.pieces(vocabulary, merges, special, addsSpace: addsSpace)
    case "gemma4":
      let vocabulary = try ListedVocabulary(metadata, scores: false)
      // llama.cpp begins every text with the start token here, whatever the file states.
      special = try ListedTokens(metadata, vocabulary, addsStart: true)
      let merges = try MergePairs(metadata, vocabulary)
      var pieces = Self.pieces(vocabulary, merges, special, addsSpace: false)
      pieces.preTokenizer = [
        "type": "Split", "pattern": ["String": " "], "behavior": "MergedWithPrevious",
        "invert": false,
      ]
      document = pieces
    case "bert": (document, special) = try Self.wordPieces(metadata)
    case "t5":
      (document, special) = try Self.unigrams(metadata, &notes)
    case let other:
      throw ModelError(
        .unsupported,
        other == nil
          ? "the file has no tokenizer" : "Pleat cannot write a tokenizer.json of this kind",
        tensor: Self.modelKey,
        expected: "gpt2 (byte-level BPE), llama (SentencePiece BPE), gemma4, bert (WordPiece) or "
          + "t5 (unigrams)",
        found: other, hint: Self.hint)
    }
    notes += special.notes
    files.append((FastTokenizer.file, document.bytes))
    let configuration = JSONWriter.text(special.configuration, indentation: 2) + "\n"
    files.append((TokenizerFiles.configurationFile, Array(configuration.utf8)))
    try appendTemplates(metadata)
  }

  private static func unknownPreTokenizer(_ pre: String?) -> ModelError {
    ModelError(
      .unsupported,
      pre == nil || pre == "default"
        ? "the file does not say how the original tokenizer splits text"
        : "Pleat does not know how this pre-tokenizer splits text",
      tensor: preKey, expected: "a name such as gpt-2, llama-bpe or qwen2", found: pre, hint: hint)
  }

  /// Appends the chat templates, each of which is a file.
  private mutating func appendTemplates(_ metadata: Metadata) throws(ModelError) {
    let prefix = ChatTemplates.metadataKey + "."
    for entry in metadata.entries
    where entry.key == ChatTemplates.metadataKey || entry.key.hasPrefix(prefix) {
      guard let text = entry.value.text else {
        throw ModelError(.malformed, "the chat template is not a text", tensor: entry.key)
      }
      guard !ChatTemplates.runtimeNames.contains(text) else {
        notes.append("left out the chat template \(text), a name that only llama.cpp knows")
        continue
      }
      var file = ChatTemplates.file
      if entry.key != ChatTemplates.metadataKey {
        let name = entry.key.dropFirst(prefix.count)
        // A stranger's name must not lead out of the folder.
        guard !name.isEmpty, name.utf8.allSatisfy(Self.isNameLetter) else {
          notes.append("left out the chat template '\(name)', whose name cannot be that of a file")
          continue
        }
        file = "\(CompanionName.templateFolder)/\(name).jinja"
      }
      files.append((file, Array(text.utf8)))
    }
  }

  private static func isNameLetter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}

// MARK: - Kinds of tokenizers

extension TokenizerDocuments {
  /// A tokenizer that merges bytes.
  ///
  /// There is no normalizer, because llama.cpp has none. Some originals normalize text to NFC, such
  /// as those of Qwen. Nearly all text is in NFC already.
  private static func byteLevel(
    _ known: KnownPreTokenizer, _ vocabulary: ListedVocabulary, _ merges: MergePairs,
    _ special: ListedTokens
  ) -> FastDocument {
    var patterns = known.definitions[0]
    let isLastUsual = patterns.last == PreTokenizer.gpt2Pattern
    if isLastUsual { patterns.removeLast() }
    var steps = patterns.map { pattern -> JSONValue in
      [
        "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated",
        "invert": false,
      ]
    }
    steps.append(byteLevelStep(addsSpace: false, trims: true, splits: isLastUsual))
    return FastDocument(
      vocabulary: vocabulary, model: .merges(merges, ignoresMerges: known.ignoresMerges),
      preTokenizer: steps.count == 1
        ? steps[0] : ["type": "Sequence", "pretokenizers": .array(steps)],
      postProcessor: special.template
        ?? byteLevelStep(addsSpace: false, trims: false, splits: false),
      decoder: byteLevelStep(addsSpace: true, trims: true, splits: true))
  }

  private static func byteLevelStep(addsSpace: Bool, trims: Bool, splits: Bool) -> JSONValue {
    [
      "type": "ByteLevel", "add_prefix_space": .bool(addsSpace), "trim_offsets": .bool(trims),
      "use_regex": .bool(splits),
    ]
  }

  /// A tokenizer that was made from a SentencePiece model.
  ///
  /// As in llama.cpp, a space is also added after each special token within a text.
  private static func pieces(
    _ vocabulary: ListedVocabulary, _ merges: MergePairs, _ special: ListedTokens, addsSpace: Bool
  ) -> FastDocument {
    var normalizer = replacement(of: " ", by: mark)
    var decoders: [JSONValue] = [
      replacement(of: mark, by: " "), ["type": "ByteFallback"], ["type": "Fuse"],
    ]
    if addsSpace {
      normalizer = [
        "type": "Sequence", "normalizers": [["type": "Prepend", "prepend": mark], normalizer],
      ]
      decoders.append(["type": "Strip", "content": " ", "start": 1, "stop": 0])
    }
    let unknown = special.ids["unk"] ?? vocabulary.kinds.firstIndex(of: .unknown)
    return FastDocument(
      vocabulary: vocabulary, model: .merges(merges, fallsBackToBytes: true),
      normalizer: normalizer,
      postProcessor: special.template ?? .null,
      decoder: ["type": "Sequence", "decoders": .array(decoders)],
      unknown: unknown)
  }

  private static func replacement(of text: JSONValue, by other: JSONValue) -> JSONValue {
    ["type": "Replace", "pattern": ["String": text], "content": other]
  }
}
