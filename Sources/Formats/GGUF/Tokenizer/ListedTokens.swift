internal import Bytes
internal import TensorModel

/// The special tokens that metadata name, and those that are added to every text.
struct ListedTokens {
  /// The ids by kind, such as `bos`.
  private(set) var ids: [String: Int] = [:]
  /// Notes for the user.
  private(set) var notes: [String] = []
  /// Their texts by kind.
  private(set) var texts: [String: String] = [:]
  /// The tokens before and after every text; nil for none.
  private var start: String?
  private var end: String?
  /// Whether the metadata say what is added before a text, and after it.
  private var statesStart: Bool
  private var statesEnd: Bool
  /// What is between two texts, and which keys the files state; nil for models that predict tokens.
  private let embedding: Embedding?
  /// The kind of the token after every text.
  private var endKind = "eos"

  /// How the tokenizers of models that embed texts differ.
  struct Embedding {
    /// The number of positions that the model has.
    var contextLength: Int?
    /// Whether the model has a type for the tokens of the second text.
    var hasTokenTypes: Bool
    /// Whether a separator follows the end of the first text, before the second text.
    var separates: Bool
    /// The other keys of tokenizer_config.json.
    var settings: [JSONValue.Member] = []
    /// The kinds of tokens that are named only if no other kind has the token.
    var unnamedKinds: [String] = []
  }

  /// Finds the tokens.
  ///
  /// `addsStart`, `addsEnd` and `defaults` are what llama.cpp assumes if the metadata do not say
  /// whether a token is added before or after a text, and which id a kind has. Throws `malformed` for
  /// ids outside the vocabulary.
  init(
    _ metadata: Metadata, _ vocabulary: ListedVocabulary, addsStart: Bool,
    addsEnd: Bool = false, defaults: [String: Int] = [:], embedding: Embedding? = nil
  ) throws(ModelError) {
    self.embedding = embedding
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
    let adds = (start: stated.start ?? addsStart, end: stated.end ?? addsEnd)
    (start, end) = (adds.start ? texts["bos"] : nil, adds.end ? texts["eos"] : nil)
    for (kind, isMissing) in [
      ("bos", adds.start && start == nil), ("eos", adds.end && end == nil),
    ] where isMissing {
      notes.append(
        "no \(kind) token is added to texts, because the file does not say which one it is")
    }
  }

  /// Adds the tokens of two kinds before and after every text, whatever the metadata states.
  ///
  /// Throws `malformed` if the file does not say which tokens they are.
  mutating func surround(_ first: String, _ last: String, hint: String) throws(ModelError) {
    for kind in [first, last] where ids[kind] == nil {
      throw ModelError(
        .malformed, "the file does not say which tokens begin and end every text",
        tensor: SpecialTokens.key(of: kind), hint: hint)
    }
    (start, end) = (texts[first], texts[last])
    endKind = last
    (statesStart, statesEnd) = (false, false)
    notes = []
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
    for (kind, text) in [("bos", start), (endKind, end)] {
      // One token may both begin and end texts.
      guard let text, let id = ids[kind], members.first?.key.hasSameBytes(as: text) != true else {
        continue
      }
      members.append(
        JSONValue.Member(
          text,
          ["id": .string(text), "ids": [JSONValue(id)], "tokens": [.string(text)]]))
    }
    var second = parts("B", 1)
    if let embedding {
      let type = embedding.hasTokenTypes ? 1 : 0
      second = parts("B", type)
      if start != nil { second[0] = token(end ?? "", 0) }
      if start != nil, !embedding.separates || end == nil { second.removeFirst() }
    }
    return [
      "type": "TemplateProcessing", "single": .array(parts("A", 0)),
      "pair": .array(parts("A", 0) + second), "special_tokens": .object(members),
    ]
  }

  /// The texts of the tokens that tokenizer_config.json names, by kind.
  ///
  /// Models that embed texts have the token that begins texts as `cls`, too.
  private var named: [String: String] {
    guard let embedding else { return texts }
    var named = texts
    named["cls"] = start
    for kind in embedding.unnamedKinds {
      let others = named.filter { !embedding.unnamedKinds.contains($0.key) }.values
      if let text = named[kind], others.contains(where: { $0.hasSameBytes(as: text) }) {
        named[kind] = nil
      }
    }
    return named
  }

  /// The contents of tokenizer_config.json.
  var configuration: JSONValue {
    var members: [JSONValue.Member] = [
      JSONValue.Member("clean_up_tokenization_spaces", false),
      JSONValue.Member("tokenizer_class", "PreTrainedTokenizerFast"),
    ]
    for (kind, text) in named { members.append(JSONValue.Member("\(kind)_token", .string(text))) }
    if let embedding {
      members += embedding.settings
      if let length = embedding.contextLength {
        members.append(JSONValue.Member("model_max_length", JSONValue(length)))
      }
      let inputs: [JSONValue] = embedding.hasTokenTypes ? ["token_type_ids"] : []
      members.append(
        JSONValue.Member("model_input_names", .array(["input_ids"] + inputs + ["attention_mask"])))
    }
    // If one of the two is there, transformers takes the other one to be false if it is missing.
    if statesStart || statesEnd, embedding == nil {
      members.append(JSONValue.Member("add_bos_token", .bool(start != nil)))
    }
    if statesEnd, embedding == nil {
      members.append(JSONValue.Member("add_eos_token", .bool(end != nil)))
    }
    members.sort { $0.key < $1.key }
    return .object(members)
  }
}

extension Metadata {
  /// The value of a key that is true or false; nil if there is no such key.
  ///
  /// Throws `malformed` for other values.
  func flag(_ key: String) throws(ModelError) -> Bool? {
    guard let value = self[key] else { return nil }
    guard case .bool(let flag) = value else {
      throw ModelError(.malformed, "the value is neither true nor false", tensor: key)
    }
    return flag
  }
}
