internal import Bytes

/// The object that AutoRound stores under `quantization_config`.
///
/// AutoRound packs weights as GPTQ or AWQ do, and states which in `packing_format`.
enum AutoRoundConfig {
  private static let methods = ["auto-round", "auto_round", "intel/auto-round"]

  /// The same description as the tool writes it whose packing it names; other objects unchanged.
  static func packed(_ value: JSONValue) -> JSONValue {
    guard let method = value["quant_method"]?.string, methods.contains(method),
      value["data_type"]?.string ?? "int" == "int",
      let packing = (value["packing_format"] ?? value["backend"])?.string?.lowercased()
    else { return value }
    let others = (value.members ?? []).filter {
      !["quant_method", "dynamic", "extra_config"].contains($0.key)
    }
    if packing.contains("awq") {
      return .object([.init("quant_method", "awq")] + others)
    }
    guard packing.contains("gptq"), !packing.contains("gptqmodel") else { return value }
    // GPTQ states the layers with other groups, or with none, as rules.
    let layers = (value["extra_config"]?.members ?? []).map { layer in
      let isPlain = (layer.value["bits"]?.int ?? 0) >= 16
      return JSONValue.Member((isPlain ? "-:" : "+:") + layer.key, layer.value)
    }
    return .object(
      [.init("quant_method", "gptq"), .init("dynamic", .object(layers))] + others)
  }
}
