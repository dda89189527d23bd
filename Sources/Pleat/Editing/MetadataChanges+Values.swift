internal import Formats
internal import TensorModel

extension MetadataChanges {
  private static let tokensKey = "tokenizer.ggml.tokens"

  private var architecture: String? { metadata["general.architecture"]?.text }

  // MARK: - Keys and types

  /// The key of an assignment, and the type that it names after a colon; nil if it names none.
  ///
  /// Throws `usage` for an unknown type, and for a type of text metadata.
  func keyAndType(_ text: String) throws(ModelError) -> (key: String, type: MetadataType?) {
    guard metadata[text] == nil, let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else {
      return (text, nil)
    }
    let name = text[text.utf8.index(after: colon)...]
    let type = MetadataType.allCases.first { "\($0)" == name }
    if isTyped {
      guard let type else {
        let known = MetadataType.allCases.filter { $0 != .array }.map { "\($0)" }
        throw ModelError(
          .usage, "unknown type '\(name)'", tensor: text,
          expected: "key:type=value with the type \(known.choices)")
      }
      return (String(text[..<colon]), type)
    }
    guard let type else { return (text, nil) }
    guard type == .string else {
      throw ModelError(
        .usage, "the metadata of safetensors files is text", tensor: text, found: "\(type)",
        hint: "leave the type out")
    }
    return (String(text[..<colon]), type)
  }

  /// The type of a key that the model does not have.
  ///
  /// Throws `usage` if llama.cpp does not know the key, and the text looks like a mistake.
  func typeOfNewKey(_ key: String, _ text: String) throws(ModelError) -> MetadataType {
    guard isTyped else { return .string }
    if let type = GGUFKeys.type(of: key, architecture: architecture) { return type }
    let known = GGUFKeys.known(architecture: architecture)
    let names = known + metadata.entries.map(\.key).filter { !known.contains($0) }
    let longer = names.filter { $0.hasSuffix("." + key) }
    let near = longer.isEmpty ? NearName.nearest(to: key, among: names, count: 3) : longer
    let type = Self.likelyType(of: text)
    guard type != .string || !near.isEmpty else { return .string }
    throw ModelError(
      .usage, "the model does not have the key, and llama.cpp does not know it", tensor: key,
      expected: near.isEmpty ? nil : Array(near.prefix(3)).choices,
      hint: "to add the key, name its type: --set \(key):\(type)=…")
  }

  /// The type that a text looks like.
  private static func likelyType(of text: String) -> MetadataType {
    if UInt32(text) != nil { return .u32 }
    if Int64(text) != nil { return .i64 }
    if Double(text) != nil { return .f32 }
    return Bool(text) != nil ? .bool : .string
  }

  // MARK: - Values

  /// The value of a type that a text states.
  ///
  /// Throws `usage` for a text that is no such value.
  func value(
    _ text: String, of type: MetadataType, for key: String
  ) throws(ModelError) -> MetadataValue {
    let expected: String
    switch type {
    case .u8, .u16, .u32, .u64:
      let largest = UInt64.max >> (64 - type.bitWidth)
      let id = try tokenID(text, key)
      if let number = id ?? UInt64(text), number <= largest { return .unsigned(number, type) }
      expected = "a whole number from 0 to \(largest)"
    case .i8, .i16, .i32, .i64:
      let largest = Int64.max >> (64 - type.bitWidth)
      let id = try tokenID(text, key)
      if let number = id.flatMap({ Int64(exactly: $0) }) ?? Int64(text),
        (-largest - 1...largest).contains(number)
      {
        return .signed(number, type)
      }
      expected = "a whole number from \(-largest - 1) to \(largest)"
    case .f32:
      if let number = Float(text), number.isFinite { return .float(number) }
      expected = "a number that F32 can store"
    case .f64:
      if let number = Double(text), number.isFinite { return .double(number) }
      expected = "a number that F64 can store"
    case .bool:
      if let value = Bool(text) { return .bool(value) }
      expected = "true or false"
    case .string, .array: return .text(text)
    }
    throw ModelError(
      .usage, "the value does not fit the type \(type)", tensor: key, expected: expected,
      found: text)
  }

  /// The id of a token, given its id or its text; nil if the key is no id or there is no vocabulary.
  ///
  /// Throws `usage` if there is no such token, or if several have the text.
  private func tokenID(_ text: String, _ key: String) throws(ModelError) -> UInt64? {
    guard GGUFKeys.isTokenID(key), case .array(let tokens)? = metadata[Self.tokensKey] else {
      return nil
    }
    if let number = Int(text) {
      guard (0..<tokens.count).contains(number) else {
        throw ModelError(
          .usage, "no token has this id", tensor: key,
          expected: "a number below \(tokens.count), or the text of a token", found: text)
      }
      return UInt64(number)
    }
    let ids = tokens.indices(of: text)
    guard let id = ids.first else {
      let near = NearName.nearest(to: text, among: tokens.texts, count: 3)
      throw ModelError(
        .usage, "the vocabulary has no such token", tensor: key, found: text,
        hint: near.isEmpty ? nil : "did you mean \(near.choices)?")
    }
    guard ids.count == 1 else {
      throw ModelError(
        .usage, "several tokens have this text", tensor: key, expected: "the id of one of them",
        found: "\(text), the tokens \(ids.map(String.init).joined(separator: ", "))")
    }
    return UInt64(id)
  }

  /// The text of the token that a value is the id of; nil for other keys and values.
  public func token(_ value: MetadataValue?, of key: String) -> String? {
    guard GGUFKeys.isTokenID(key), let id = value?.integer,
      case .array(let tokens)? = metadata[Self.tokensKey]
    else { return nil }
    return tokens.text(at: id)
  }
}

extension MetadataType {
  /// The width of a number in bits; 64 for other types.
  fileprivate var bitWidth: Int { 8 * (byteCount ?? 8) }
}
