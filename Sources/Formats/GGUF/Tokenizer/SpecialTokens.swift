internal import Architectures
internal import Bytes
internal import TensorModel

/// The ids of special tokens, and which of these are added to every text.
///
/// Tokens that llama.cpp's converter finds come first, in its order. Then come tokens that it misses,
/// because their texts are in the vocabulary but not among the added tokens.
struct SpecialTokens {
  /// The keys for the ids of the kinds of tokens; other kinds have no key in GGUF.
  private static let keys = [
    "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id",
    // This is the spelling of llama.cpp.
    "sep": "seperator_token_id", "pad": "padding_token_id", "mask": "mask_token_id",
    "eot": "eot_token_id", "eom": "eom_token_id",
  ]

  /// The kinds of tokens that transformers names.
  static let usualKinds = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]
  /// The kinds of tokens, in the order in which they are written.
  private var kinds = usualKinds
  private var texts: [String: String] = [:]
  private var ids: [(kind: String, id: Int)] = []
  private var additions: [(kind: String, isAdded: Bool)] = []
  private let tokenCount: Int

  /// The key for the id of a kind of token; nil for kinds that have no key.
  static func key(of kind: String) -> String? { keys[kind].map { "tokenizer.ggml.\($0)" } }

  /// Finds the special tokens; `vocabulary` contains the texts of all tokens by id.
  init(_ files: TokenizerFiles, _ vocabulary: TextIndex) {
    tokenCount = vocabulary.count
    for kind in kinds { texts[kind] = Self.text(of: kind, in: files.configuration) }
    if let fast = files.fast { readProcessors(fast.parts["post_processor"] ?? .null) }
    for (kind, text) in files.fast?.fixedTokens ?? [] {
      set(kind, vocabulary.index(of: Array(text.utf8)[...]))
    }
    let added = files.fast?.ownTokens ?? []
    for kind in kinds {
      if let value = files.configuration["add_\(kind)_token"]?.bool { setDefault(kind, value) }
      if let text = texts[kind] { set(kind, added.first { $0.text.codes == text.codes }?.id) }
    }
    let stated = kinds.map { Self.id(of: $0, in: files) }
    for (kind, value) in zip(kinds, stated) { set(kind, value?.int) }
    for (kind, text) in files.fast?.usualTokens ?? [] {
      set(kind, vocabulary.index(of: Array(text.utf8)[...]))
    }
    for kind in kinds {
      guard let text = texts[kind] ?? Self.text(of: kind, in: files.specialTokens) else { continue }
      set(kind, vocabulary.index(of: Array(text.utf8)[...]))
    }
    for (kind, value) in zip(kinds, stated) {
      for list in [files.generation["\(kind)_token_id"], value] {
        for id in list?.array ?? [list ?? .null] { set(kind, id.int) }
      }
    }
    for kind in kinds { set(kind, files.sentencePiece?.special[kind]) }
  }

  /// What config.json states as the id of a kind of token, or as a list of ids.
  private static func id(of kind: String, in files: TokenizerFiles) -> JSONValue? {
    let key = "\(kind)_token_id"
    guard let value = files.config[key], value != .null else {
      return TextConfig.merged(files.config)[key]
    }
    return value
  }

  /// Sets the id of a kind, unless the kind has one.
  ///
  /// Ids that no token has, such as -1, stand for none and are ignored.
  mutating func set(_ kind: String, _ id: Int?) {
    guard let id, (0..<tokenCount).contains(id), !ids.contains(where: { $0.kind == kind }) else {
      return
    }
    ids.append((kind, id))
  }

  /// Sets whether a token of a kind is added to texts, unless this is known.
  mutating func setDefault(_ kind: String, _ isAdded: Bool) {
    guard !additions.contains(where: { $0.kind == kind }) else { return }
    additions.append((kind, isAdded))
  }

  /// The id of the token of a kind; nil if there is none.
  func id(of kind: String) -> Int? { ids.first { $0.kind == kind }?.id }

  /// Whether a token of a kind is added to texts; nil if it is not known.
  func isAdded(_ kind: String) -> Bool? { additions.first { $0.kind == kind }?.isAdded }

  /// Adds the ids, and which tokens are added to texts, to metadata.
  func write(to metadata: inout Metadata) {
    writeIDs(to: &metadata)
    writeAdditions(to: &metadata)
  }

  /// Adds the ids to metadata.
  func writeIDs(to metadata: inout Metadata) {
    for (kind, id) in ids {
      if let key = Self.key(of: kind) { metadata.append(key, .u32(UInt32(id))) }
    }
  }

  /// Adds to metadata which tokens are added to texts.
  func writeAdditions(to metadata: inout Metadata) {
    for (kind, isAdded) in additions where ["bos", "eos", "sep"].contains(kind) {
      metadata.append("tokenizer.ggml.add_\(kind)_token", .bool(isAdded))
    }
  }

  /// Sets whether a token of a kind is added to texts.
  mutating func put(_ kind: String, _ isAdded: Bool) {
    if let index = additions.firstIndex(where: { $0.kind == kind }) {
      additions[index].isAdded = isAdded
    } else {
      additions.append((kind, isAdded))
    }
  }

  /// The texts of the special tokens that a file states, or else another one.
  static func texts(in file: JSONValue, or other: JSONValue) -> [String] {
    let named = usualKinds.compactMap { text(of: $0, in: file) ?? text(of: $0, in: other) }
    let lists = ["extra_special_tokens", "additional_special_tokens"].flatMap { key in
      let value = file[key] ?? other[key]
      return value?.array ?? value?.members?.map(\.value) ?? []
    }
    return named + lists.compactMap(text)
  }

  /// The text of the token of a kind in tokenizer_config.json or special_tokens_map.json.
  static func text(of kind: String, in file: JSONValue) -> String? {
    file["\(kind)_token"].flatMap(text)
  }

  /// The text of the token of a kind, as the files of a tokenizer state it; nil if they state none.
  ///
  /// Throws what reading them throws.
  static func text(
    of kind: String, in companions: CompanionReader
  ) throws(ModelError) -> String? {
    for name in [TokenizerFiles.configurationFile, TokenizerFiles.specialTokensFile] {
      if let text = text(of: kind, in: try companions.object(name)) { return text }
    }
    return nil
  }

  private static func text(_ value: JSONValue) -> String? {
    let text = value.string ?? value["content"]?.string
    return text?.isEmpty == true ? nil : text
  }
}

// MARK: - Tokens that are added to texts

extension SpecialTokens {
  private mutating func readProcessors(_ value: JSONValue) {
    if texts["bos"] == nil { texts["bos"] = texts["cls"] }
    if texts["eos"] == nil { texts["eos"] = texts["sep"] }
    for processor in value["processors"]?.array ?? [value] {
      switch processor["type"]?.string {
      case "ByteLevel":
        setDefault("bos", false)
        setDefault("eos", false)
      case "RobertaProcessing":
        for kind in ["bos", "eos", "sep"] { put(kind, true) }
        for kind in ["cls", "sep"] where texts[kind] == nil {
          texts[kind] = processor[kind]?.array?.first?.string
        }
      case "TemplateProcessing": readTemplate(processor)
      default: break
      }
    }
  }

  private mutating func readTemplate(_ processor: JSONValue) {
    let single = processor["single"]?.array ?? []
    var (first, last): (String?, String?) = (nil, nil)
    if single.count > 1 {
      first = single.first.flatMap(Self.token)
      last = single.last.flatMap(Self.token)
    }
    if let first {
      if texts["bos"] == nil { texts["bos"] = first }
      if texts["cls"] == nil, first != texts["bos"] { texts["cls"] = first }
      put("bos", first == texts["bos"] || first == texts["cls"])
    }
    if let last {
      if last != texts["eos"] {
        // Then the token that ends the turns of a chat differs from the one that ends texts.
        let kind = kinds.contains("eot") ? "eom" : "eot"
        if !kinds.contains(kind) {
          kinds.append(kind)
          texts[kind] = texts["eos"]
        }
        texts["eos"] = last
      }
      put("eos", true)
    }
    readPair(processor["pair"]?.array ?? [], first, last)
  }

  /// Finds out whether a separator is added between two texts.
  private mutating func readPair(_ pair: [JSONValue], _ first: String?, _ last: String?) {
    var pair = pair[...]
    if let first, pair.first.flatMap(Self.token) == first { pair = pair.dropFirst() }
    if let last, pair.last.flatMap(Self.token) == last { pair = pair.dropLast() }
    guard pair.first?["Sequence"]?["id"]?.string == "A",
      pair.last?["Sequence"]?["id"]?.string == "B", pair.count > 2
    else { return }
    let middle = pair.dropFirst().dropLast().map(Self.token)
    func separates(_ text: String?) -> Bool {
      text != nil && (text == texts["sep"] || text == texts["eos"])
    }
    let isAdded =
      separates(middle[0]) && last == nil || middle.count == 2 && separates(middle[1])
    put("sep", isAdded)
    if isAdded, texts["sep"] == nil { texts["sep"] = texts["eos"] }
  }

  private static func token(_ item: JSONValue) -> String? { item["SpecialToken"]?["id"]?.string }
}

extension String {
  /// The bytes, for comparisons that distinguish the composed and the decomposed form of é.
  fileprivate var codes: [UInt8] { Array(utf8) }
}
