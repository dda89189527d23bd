internal import Bytes

/// The object that AutoRound stores under `quantization_config`.
///
/// AutoRound packs whole numbers as GPTQ or AWQ do, and states which in `packing_format`.
enum AutoRoundConfig {
  private static let methods = ["auto-round", "auto_round", "intel/auto-round"]
  private static let plainBits = 16

  /// How AutoRound packs weights, in the words of the tools that pack them so.
  private enum Packing {
    case awq
    case gptq(GPTQVersion)

    /// The packing with a name, nil for others; older files name the kernel, too.
    init?(_ name: String) {
      if name.contains("awq") {
        self = .awq
      } else if name == "auto_round" || name == "auto_round:gptqmodel" {
        // Zero points are stored as they are.
        self = .gptq(.v2)
      } else if name.contains("gptq"), !name.contains("gptqmodel") {
        self = .gptq(.v1)
      } else {
        return nil
      }
    }
  }

  /// The same description as the tool writes it whose packing it names.
  ///
  /// Other objects, and those with an obstacle, are unchanged.
  static func packed(_ value: JSONValue) -> JSONValue {
    guard isOwn(value), obstacle(value) == nil, let packing = packing(value) else { return value }
    let others = (value.members ?? []).filter {
      !["quant_method", "dynamic", "extra_config"].contains($0.key)
    }
    guard case .gptq(let version) = packing else {
      return .object([.init("quant_method", "awq")] + others)
    }
    // GPTQ states the layers with other groups, or with none, as rules.
    let layers = layers(value).map { layer in
      JSONValue.Member((isPlain(layer.value) ? "-:" : "+:") + layer.key, layer.value)
    }
    return .object(
      [
        .init("quant_method", "gptq"), .init("checkpoint_format", .string(version.rawValue)),
        .init("dynamic", .object(layers)),
      ] + others)
  }

  /// What a description of AutoRound states that Pleat does not read; nil if it reads all of it, or
  /// if the description is of another tool.
  static func obstacle(_ value: JSONValue) -> String? {
    guard isOwn(value) else { return nil }
    let others = layers(value).filter { !isPlain($0.value) }
    let quantized = [("", value)] + others.map { (" of \($0.key)", $0.value) }
    for (place, object) in quantized {
      if let type = object["data_type"]?.string, type != "int" {
        return "data_type \(type)\(place)"
      }
      // Then weights are also scaled for activations of fewer bits.
      if let bits = object["act_bits"]?.int, bits < plainBits { return "act_bits \(bits)\(place)" }
    }
    if let rotation = value["rotation_config"], ![.null, [:], .string("")].contains(rotation) {
      return "rotation_config, which rotates activations"
    }
    guard let packing = packing(value) else {
      return "packing_format " + (name(of: value) ?? "missing")
    }
    for (place, object) in quantized {
      let bits = object["bits"]?.int, size = object["group_size"]?.int
      switch packing {
      case .gptq: if let bits, !GPTQCodec.bits.contains(bits) { return "\(bits) bits\(place)" }
      case .awq:
        if let bits, bits != AWQConfig.bits { return "\(bits) bits\(place), packed as AWQ" }
        if let size, size != value["group_size"]?.int {
          return "group_size \(size)\(place), packed as AWQ"
        }
      }
    }
    return nil
  }

  private static func isOwn(_ value: JSONValue) -> Bool {
    value["quant_method"]?.string.map(methods.contains) ?? false
  }

  private static func name(of value: JSONValue) -> String? {
    (value["packing_format"] ?? value["backend"])?.string?.lowercased()
  }

  private static func packing(_ value: JSONValue) -> Packing? {
    name(of: value).flatMap(Packing.init)
  }

  /// The layers that differ from the others.
  private static func layers(_ value: JSONValue) -> [JSONValue.Member] {
    value["extra_config"]?.members ?? []
  }

  private static func isPlain(_ layer: JSONValue) -> Bool {
    (layer["bits"]?.int ?? 0) >= plainBits
  }
}
