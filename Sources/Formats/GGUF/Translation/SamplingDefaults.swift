internal import Architectures
internal import Bytes
internal import TensorModel

/// Translates the sampling defaults of `generation_config.json` to the metadata of llama.cpp.
enum SamplingDefaults {
  private static let wholeNumbers = [
    ("top_k", "top_k"), ("penalty_last_n", "penalty_last_n"), ("mirostat", "mirostat"),
  ]
  private static let numbers = [
    ("top_p", "top_p"), ("min_p", "min_p"), ("temperature", "temp"),
    ("xtc_probability", "xtc_probability"), ("xtc_threshold", "xtc_threshold"),
    ("repetition_penalty", "penalty_repeat"), ("mirostat_tau", "mirostat_tau"),
    ("mirostat_eta", "mirostat_eta"),
  ]

  private static let suppressedKey = "tokenizer.ggml.suppress_tokens"

  /// The metadata for the values that the document states.
  static func metadata(of document: JSONValue) -> Metadata {
    var metadata = Metadata()
    for (key, name) in wholeNumbers {
      guard let value = document[key]?.int.flatMap(Int32.init(exactly:)) else { continue }
      metadata.append("general.sampling.\(name)", .signed(Int64(value), .i32))
    }
    for (key, name) in numbers {
      guard let value = document[key]?.double, value.isFinite else { continue }
      metadata.append("general.sampling.\(name)", .float(Float(value)))
    }
    return metadata
  }

  /// The tokens that are never chosen; empty if the document lists none.
  ///
  /// Throws `malformed` for a list of anything else than ids of `tokenCount` tokens.
  static func suppressedTokens(
    _ document: JSONValue, tokenCount: Int
  ) throws(ModelError) -> Metadata {
    var metadata = Metadata()
    guard let list = document["suppress_tokens"], list != .null else { return metadata }
    let ids = (list.array ?? []).compactMap(\.int).filter { 0..<tokenCount ~= $0 }
    guard let stated = list.array, ids.count == stated.count else {
      throw ModelError(
        .malformed, "generation_config.json suppresses tokens that the model does not have",
        tensor: "suppress_tokens", expected: "ids below \(tokenCount)",
        found: JSONWriter.text(list))
    }
    guard !ids.isEmpty else { return metadata }
    var bytes: [UInt8] = []
    for id in ids { bytes.append(littleEndian: UInt32(clamping: id)) }
    metadata.append(
      suppressedKey,
      .array(MetadataArray(elementType: .i32, count: ids.count, bytes: bytes)))
    return metadata
  }

  /// The members of `generation_config.json` for the values that metadata states.
  static func members(of metadata: Metadata) -> [JSONValue.Member] {
    let values = (wholeNumbers + numbers).compactMap { key, name -> JSONValue.Member? in
      switch metadata["general.sampling.\(name)"] {
      case .float(let number): .init(key, .number(Double("\(number)") ?? Double(number)))
      case let value?: value.integer.map { .init(key, JSONValue($0)) }
      case nil: nil
      }
    }
    guard let ids = metadata[suppressedKey]?.integers else { return values }
    return values + [.init("suppress_tokens", .array(ids.map { JSONValue($0) }))]
  }
}
