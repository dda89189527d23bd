internal import Bytes
internal import TensorModel

/// Which tokens begin and end texts and so on, and which are added to every text.
///
/// What llama.cpp's converter finds comes first and in its order; what it leaves out follows, from
/// texts that are in the vocabulary without being among the added tokens.
struct SpecialTokens {
  /// Kinds of tokens with the keys for their ids; others have none in GGUF.
  private static let keys = [
    "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id",
    // llama.cpp spells it so.
    "sep": "seperator_token_id", "pad": "padding_token_id", "mask": "mask_token_id",
    "eot": "eot_token_id", "eom": "eom_token_id",
  ]

  /// The kinds that the files have names for, in the order in which they are written.
  private var kinds = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]
  private var texts: [String: String] = [:]
  private var ids: [(kind: String, id: Int)] = []
  private var additions: [(kind: String, isAdded: Bool)] = []
  private let tokenCount: Int

  /// Decides from files; `vocabulary` has the texts of all tokens by id.
  init(_ files: TokenizerFiles, _ vocabulary: TextIndex) {
    tokenCount = vocabulary.count
    for kind in kinds { texts[kind] = Self.text(of: kind, in: files.configuration) }
    if let fast = files.fast { readProcessors(fast.parts["post_processor"] ?? .null) }
    let added = files.fast?.addedTokens ?? []
    for kind in kinds {
      if let value = files.configuration["add_\(kind)_token"]?.bool { setDefault(kind, value) }
      if let text = texts[kind] { set(kind, added.first { $0.text.codes == text.codes }?.id) }
    }
    let inner = files.config["text_config"] ?? .object([])
    for kind in kinds {
      let key = "\(kind)_token_id"
      set(kind, (files.config[key].flatMap { $0 == .null ? nil : $0 } ?? inner[key])?.int)
    }
    for kind in kinds {
      guard let text = texts[kind] ?? Self.text(of: kind, in: files.specialTokens) else { continue }
      set(kind, vocabulary.index(of: Array(text.utf8)[...]))
    }
    for kind in kinds {
      let value = files.generation["\(kind)_token_id"]
      set(kind, (value?.array?.first ?? value)?.int)
    }
    for kind in kinds { set(kind, files.sentencePiece?.special[kind]) }
  }

  /// Gives a kind an id, unless it has one.
  ///
  /// Ids that no token has, such as -1, are ways to say none.
  mutating func set(_ kind: String, _ id: Int?) {
    guard let id, (0..<tokenCount).contains(id), !ids.contains(where: { $0.kind == kind }) else {
      return
    }
    ids.append((kind, id))
  }

  /// Says whether a token of a kind is added to texts, unless that is known.
  mutating func setDefault(_ kind: String, _ isAdded: Bool) {
    guard !additions.contains(where: { $0.kind == kind }) else { return }
    additions.append((kind, isAdded))
  }

  /// Whether a token of a kind is added to texts; nil when nothing is said.
  func isAdded(_ kind: String) -> Bool? { additions.first { $0.kind == kind }?.isAdded }

  /// Adds what was found to metadata.
  func write(to metadata: inout Metadata) {
    for (kind, id) in ids {
      if let key = Self.keys[kind] { metadata.append("tokenizer.ggml." + key, .u32(UInt32(id))) }
    }
    for (kind, isAdded) in additions where ["bos", "eos", "sep"].contains(kind) {
      metadata.append("tokenizer.ggml.add_\(kind)_token", .bool(isAdded))
    }
  }

  private mutating func put(_ kind: String, _ isAdded: Bool) {
    if let index = additions.firstIndex(where: { $0.kind == kind }) {
      additions[index].isAdded = isAdded
    } else {
      additions.append((kind, isAdded))
    }
  }

  private static func text(of kind: String, in file: JSONValue) -> String? {
    let value = file["\(kind)_token"]
    let text = value?.string ?? value?["content"]?.string
    return text?.isEmpty == true ? nil : text
  }
}

// MARK: - What is added to texts

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
        // What ends turns of a chat is then something else than what ends texts.
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

  /// Whether a token is put between two texts.
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
  /// For comparisons that tell spellings of é apart.
  fileprivate var codes: [UInt8] { Array(utf8) }
}
