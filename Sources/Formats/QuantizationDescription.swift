internal import Architectures
package import Bytes
package import TensorModel

/// Where tools describe how the weights of a checkpoint are quantized.
package enum QuantizationKeys {
  /// The key that transformers uses, at the top of `config.json` or in the config of a part.
  package static let huggingFace = "quantization_config"
  /// The key of older compressed-tensors checkpoints.
  static let compression = "compression_config"
  /// The key that MLX uses, at the top of `config.json`.
  static let mlx = "quantization"
  /// The file beside `config.json` in which GPTQ tools store the same object.
  package static let gptqFileName = "quantize_config.json"
  /// All files beside `config.json` that describe a quantization: of GPTQ, AWQ and modelopt.
  package static let fileNames = [gptqFileName, "quant_config.json", "hf_quant_config.json"]
  /// The keys that can stand at the top.
  static let all = [mlx, huggingFace, compression]
  /// The keys that can stand in the config of a part, such as `text_config`.
  fileprivate static let nested: Set<String> = [huggingFace, compression]
  /// The number of objects around a description, at most.
  fileprivate static let depth = 4
}

/// The description of a quantization, wherever a checkpoint has it.
package struct QuantizationDescription {
  /// The `config.json`, with the description under `quantization_config` at the top.
  package let config: JSONValue
  /// The place of the description, for messages, such as `text_config in config.json`.
  package let place: String

  /// Finds the description of a checkpoint; nil if it has none.
  ///
  /// An object in a file of its own completes the one in `config.json`: some tools write keys only
  /// there.
  ///
  /// - Parameters:
  ///   - config: The `config.json`; nil if there is none.
  ///   - document: Reads a JSON file beside it; nil if there is none with that name.
  /// - Throws: `unsupported` for several descriptions that differ, and what `document` throws.
  package init?(
    _ config: JSONValue?, document: (String) throws(ModelError) -> JSONValue?
  ) throws(ModelError) {
    let found = (config?[QuantizationKeys.mlx]).flatMap { $0 == .null ? nil : $0 } != nil
    var files: [(name: String, value: JSONValue)] = []
    for name in QuantizationKeys.fileNames {
      if let value = try document(name), value.members != nil {
        files.append((name, Self.described(value, in: name)))
      }
    }
    var inConfig: [(place: String, value: JSONValue)] = []
    Self.collect(config ?? .null, path: [], into: &inConfig)
    if let first = inConfig.first {
      if let other = inConfig.first(where: { $0.value != first.value }) {
        throw ModelError(
          .unsupported, "config.json describes several quantizations",
          expected: "one quantization_config", found: "\(first.place) and \(other.place)")
      }
      var value = first.value
      if let file = files.first, file.value["quant_method"] == value["quant_method"] {
        value = file.value.overridden(by: value)
      }
      self.init(config, value, first.place)
    } else if let file = files.first, !found {
      self.init(config, file.value, file.name)
    } else if found {
      self.init(config: config ?? .null, place: "\(QuantizationKeys.mlx) in config.json")
    } else {
      return nil
    }
  }

  private init(_ config: JSONValue?, _ value: JSONValue, _ place: String) {
    let others = (config?.members ?? []).filter { !QuantizationKeys.nested.contains($0.key) }
    let value = AutoRoundConfig.packed(value)
    self.init(config: .object(others + [.init(QuantizationKeys.huggingFace, value)]), place: place)
  }

  private init(config: JSONValue, place: String) {
    self.config = config
    self.place = place
  }

  /// The method that the description states; nil if it states none.
  package var method: String? {
    let value = config[QuantizationKeys.huggingFace]
    return (value?["quant_method"] ?? value?["method"])?.string
  }

  /// What the description states that Pleat does not read, for messages; nil if that is not known.
  package var obstacle: String? {
    config[QuantizationKeys.huggingFace].flatMap(AutoRoundConfig.obstacle)
  }

  /// Collects the descriptions in a config and in the configs of its parts.
  private static func collect(
    _ config: JSONValue, path: [String], into found: inout [(place: String, value: JSONValue)]
  ) {
    for member in config.members ?? [] where member.value.members != nil {
      if QuantizationKeys.nested.contains(member.key) {
        let place = (path.isEmpty ? "" : path.joined(separator: ".") + " in ") + "config.json"
        found.append((place, member.value))
      } else if path.count < QuantizationKeys.depth {
        collect(member.value, path: path + [member.key], into: &found)
      }
    }
  }

  /// The object of a file of its own, with the method that such a file does not state.
  private static func described(_ value: JSONValue, in name: String) -> JSONValue {
    guard value["quant_method"] == nil, value["method"] == nil, let members = value.members else {
      return value
    }
    let isAWQ = value["w_bit"] != nil || value["q_group_size"] != nil
    let method =
      value["producer"]?["name"]?.string
      ?? (isAWQ ? "awq" : name == QuantizationKeys.gptqFileName ? "gptq" : nil)
    return .object(members + (method.map { [.init("quant_method", .string($0))] } ?? []))
  }

  /// A copy of a `config.json` without any description; the same value if it has none.
  package static func removed(from config: JSONValue) -> JSONValue {
    removed(from: config, keys: Set(QuantizationKeys.all), depth: 0)
  }

  private static func removed(
    from config: JSONValue, keys: Set<String>, depth: Int
  ) -> JSONValue {
    guard let members = config.members, depth <= QuantizationKeys.depth else { return config }
    return .object(
      members.filter { !keys.contains($0.key) || $0.value == .null }.map { member in
        .init(
          member.key, removed(from: member.value, keys: QuantizationKeys.nested, depth: depth + 1))
      })
  }
}
