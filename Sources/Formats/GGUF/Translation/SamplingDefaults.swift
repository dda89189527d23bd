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

  /// The members of `generation_config.json` for the values that metadata states.
  static func members(of metadata: Metadata) -> [JSONValue.Member] {
    (wholeNumbers + numbers).compactMap { key, name in
      switch metadata["general.sampling.\(name)"] {
      case .float(let number): .init(key, .number(Double("\(number)") ?? Double(number)))
      case let value?: value.integer.map { .init(key, JSONValue($0)) }
      case nil: nil
      }
    }
  }
}
