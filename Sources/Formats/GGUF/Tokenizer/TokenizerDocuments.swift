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

  private static let hint =
    "--tokenizer-from FOLDER uses the tokenizer of a folder of the same model"
  private static let modelKey = "tokenizer.ggml.model"
  private static let preKey = "tokenizer.ggml.pre"
  private static let mark: JSONValue = "▁"

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
        metadata, vocabulary, addsStart: PreTokenizerName.addingStart.contains(pre))
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
    case let other:
      throw ModelError(
        .unsupported,
        other == nil
          ? "the file has no tokenizer" : "Pleat cannot write a tokenizer.json of this kind",
        tensor: Self.modelKey,
        expected: "gpt2 (byte-level BPE), llama (SentencePiece BPE) or gemma4",
        found: other, hint: Self.hint)
    }
    notes += special.notes
    files.append((FastTokenizer.file, document.bytes))
    files.append((TokenizerFiles.configurationFile, special.configuration))
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
      vocabulary: vocabulary, merges: merges,
      preTokenizer: steps.count == 1
        ? steps[0] : ["type": "Sequence", "pretokenizers": .array(steps)],
      postProcessor: special.template
        ?? byteLevelStep(addsSpace: false, trims: false, splits: false),
      decoder: byteLevelStep(addsSpace: true, trims: true, splits: true),
      ignoresMerges: known.ignoresMerges)
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
      vocabulary: vocabulary, merges: merges, normalizer: normalizer,
      postProcessor: special.template ?? .null,
      decoder: ["type": "Sequence", "decoders": .array(decoders)],
      unknown: unknown.map { vocabulary.texts[$0] }, fallsBackToBytes: true)
  }

  private static func replacement(of text: JSONValue, by other: JSONValue) -> JSONValue {
    ["type": "Replace", "pattern": ["String": text], "content": other]
  }
}

// MARK: - Special tokens

/// The special tokens that metadata name, and those that are added to every text.
private struct ListedTokens {
  /// The ids by kind, such as `bos`.
  private(set) var ids: [String: Int] = [:]
  /// Notes for the user.
  private(set) var notes: [String] = []
  private var texts: [String: String] = [:]
  /// The tokens before and after every text; nil for none.
  private let start: String?
  private let end: String?
  /// Whether the metadata say what is added before a text, and after it.
  private let statesStart: Bool
  private let statesEnd: Bool

  /// Finds the tokens.
  ///
  /// `addsStart` and `defaults` are what llama.cpp assumes if the metadata do not say whether a
  /// start token is added, and which id a kind has. Throws `malformed` for ids outside the
  /// vocabulary.
  init(
    _ metadata: Metadata, _ vocabulary: ListedVocabulary, addsStart: Bool,
    defaults: [String: Int] = [:]
  ) throws(ModelError) {
    for kind in SpecialTokens.usualKinds {
      guard let key = SpecialTokens.key(of: kind) else { continue }
      var id = defaults[kind]
      if let value = metadata[key] {
        id = value.integer
        guard let id, vocabulary.texts.indices.contains(id) else {
          throw ModelError(
            .malformed, "the id of the \(kind) token is outside the vocabulary", tensor: key,
            expected: "an id below \(vocabulary.texts.count)",
            found: id.map(String.init) ?? "another type",
            hint: "pleat metadata --set \(key)=ID states another id")
        }
      }
      // Ids of padding stand for none.
      guard let id, vocabulary.has(id) else { continue }
      ids[kind] = id
      texts[kind] = vocabulary.texts[id]
    }
    let stated = (
      start: try metadata.flag("tokenizer.ggml.add_bos_token"),
      end: try metadata.flag("tokenizer.ggml.add_eos_token")
    )
    (statesStart, statesEnd) = (stated.start != nil, stated.end != nil)
    let adds = (start: stated.start ?? addsStart, end: stated.end ?? false)
    (start, end) = (adds.start ? texts["bos"] : nil, adds.end ? texts["eos"] : nil)
    for (kind, isMissing) in [
      ("bos", adds.start && start == nil), ("eos", adds.end && end == nil),
    ] where isMissing {
      notes.append(
        "no \(kind) token is added to texts, because the file does not say which one it is")
    }
  }

  /// The post-processor that adds tokens to texts; nil if none are added.
  var template: JSONValue? {
    guard start != nil || end != nil else { return nil }
    func token(_ text: String, _ type: Int) -> JSONValue {
      ["SpecialToken": ["id": .string(text), "type_id": JSONValue(type)]]
    }
    func parts(_ name: String, _ type: Int) -> [JSONValue] {
      let text: JSONValue = ["Sequence": ["id": .string(name), "type_id": JSONValue(type)]]
      return [start.map { token($0, type) }, text, end.map { token($0, type) }].compactMap(\.self)
    }
    var members: [JSONValue.Member] = []
    for (kind, text) in [("bos", start), ("eos", end)] {
      // One token may both begin and end texts.
      guard let text, let id = ids[kind], members.first?.key.hasSameBytes(as: text) != true else {
        continue
      }
      members.append(
        JSONValue.Member(
          text,
          ["id": .string(text), "ids": [JSONValue(id)], "tokens": [.string(text)]]))
    }
    return [
      "type": "TemplateProcessing", "single": .array(parts("A", 0)),
      "pair": .array(parts("A", 0) + parts("B", 1)), "special_tokens": .object(members),
    ]
  }

  /// The contents of tokenizer_config.json.
  var configuration: [UInt8] {
    var members: [JSONValue.Member] = [
      JSONValue.Member("clean_up_tokenization_spaces", false),
      JSONValue.Member("tokenizer_class", "PreTrainedTokenizerFast"),
    ]
    for (kind, text) in texts { members.append(JSONValue.Member("\(kind)_token", .string(text))) }
    // If one of the two is there, transformers takes the other one to be false if it is missing.
    if statesStart || statesEnd {
      members.append(JSONValue.Member("add_bos_token", .bool(start != nil)))
    }
    if statesEnd { members.append(JSONValue.Member("add_eos_token", .bool(end != nil))) }
    members.sort { $0.key < $1.key }
    return Array((JSONWriter.text(.object(members), indentation: 2) + "\n").utf8)
  }
}

extension Metadata {
  /// The value of a key that is true or false; nil if there is no such key.
  ///
  /// Throws `malformed` for other values.
  fileprivate func flag(_ key: String) throws(ModelError) -> Bool? {
    guard let value = self[key] else { return nil }
    guard case .bool(let flag) = value else {
      throw ModelError(.malformed, "the value is neither true nor false", tensor: key)
    }
    return flag
  }
}

// MARK: - tokenizer.json

/// The parts of a tokenizer.json for a BPE tokenizer.
private struct FastDocument {
  var vocabulary: ListedVocabulary
  var merges: MergePairs
  var normalizer: JSONValue = .null
  var preTokenizer: JSONValue = .null
  var postProcessor: JSONValue
  var decoder: JSONValue
  /// The text of the token for characters outside the vocabulary.
  var unknown: String?
  var fallsBackToBytes = false
  var ignoresMerges = false

  /// The contents of the file.
  var bytes: [UInt8] {
    var writer = JSONWriter()
    let members: [(String, JSONValue)] = [
      ("version", "1.0"), ("truncation", .null), ("padding", .null), ("added_tokens", addedTokens),
      ("normalizer", normalizer), ("pre_tokenizer", preTokenizer),
      ("post_processor", postProcessor), ("decoder", decoder),
    ]
    writer.write(literal: "{")
    Self.write(members, to: &writer)
    writer.write(literal: #""model":{"#)
    let options: [(String, JSONValue)] = [
      ("type", "BPE"), ("dropout", .null), ("unk_token", unknown.map { .string($0) } ?? .null),
      ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null),
      ("fuse_unk", .bool(fallsBackToBytes)), ("byte_fallback", .bool(fallsBackToBytes)),
      ("ignore_merges", .bool(ignoresMerges)),
    ]
    Self.write(options, to: &writer)
    writeVocabulary(to: &writer)
    writeMerges(to: &writer)
    writer.write(literal: "}}")
    return writer.bytes
  }

  private static func write(_ members: [(String, JSONValue)], to writer: inout JSONWriter) {
    for (key, value) in members {
      writer.write(string: key)
      writer.write(literal: ":")
      writer.write(value)
      writer.write(literal: ",")
    }
  }

  /// The tokens that are found in a text before it is split.
  private var addedTokens: JSONValue {
    var tokens: [JSONValue] = []
    for (id, kind) in vocabulary.kinds.enumerated() {
      guard [.unknown, .control, .userDefined].contains(kind) else { continue }
      tokens.append([
        "id": JSONValue(id), "content": .string(vocabulary.texts[id]), "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false,
        "special": .bool(kind != .userDefined),
      ])
    }
    return .array(tokens)
  }

  /// Writes all tokens, also the added ones: those outside the vocabulary would get the next ids.
  private func writeVocabulary(to writer: inout JSONWriter) {
    writer.write(literal: #""vocab":{"#)
    var isFirst = true
    for (id, text) in vocabulary.texts.enumerated() where vocabulary.has(id) {
      if !isFirst { writer.write(literal: ",") }
      isFirst = false
      writer.write(string: text)
      writer.write(literal: ":")
      writer.write(count: id)
    }
    writer.write(literal: "},")
  }

  private func writeMerges(to writer: inout JSONWriter) {
    writer.write(literal: #""merges":["#)
    for (rank, pair) in merges.pairs.enumerated() {
      writer.write(literal: rank > 0 ? ",[" : "[")
      writer.write(string: vocabulary.texts[pair.left])
      writer.write(literal: ",")
      writer.write(string: vocabulary.texts[pair.right])
      writer.write(literal: "]")
    }
    writer.write(literal: "]")
  }
}
