package import Bytes

/// What the config of a checkpoint says about weights of codes with scales: FP8, NVFP4 and others.
///
/// Names, types and shapes of the tensors say almost everything; the config confirms that a tool
/// quantized them whose codes and scales Pleat knows.
package struct ScaledConfig: Sendable {
  /// The rows and columns that share a scale; nil if the config does not state them.
  let blockShape: [Int]?
  /// Whether the tool also stores scales of activations and caches, which belong to no weight.
  let leavesActivationScales: Bool

  /// The methods of `quantization_config`, other than that of compressed-tensors.
  private static let methods: Set<String> = [
    "fp8", "fbgemm_fp8", "modelopt", "bitsandbytes", "mxfp4",
  ]

  /// Reads a config; nil if no tool whose codes and scales Pleat knows has written it.
  package init?(_ config: JSONValue) {
    let value = config[QuantizationKeys.huggingFace]
    guard let method = (value?["quant_method"] ?? value?["method"])?.string else {
      let all = config[QuantizationKeys.mlx] ?? value
      // Layers may have modes of their own.
      let modes = ([all] + (all?.members ?? []).map(\.value)).compactMap { $0?["mode"]?.string }
      guard modes.contains(where: MLXConfig.scaledModes.contains) else { return nil }
      (blockShape, leavesActivationScales) = (nil, false)
      return
    }
    let isPacked = method == CompressedTensorsConfig.method
    guard isPacked || Self.methods.contains(method) else { return nil }
    leavesActivationScales = true
    let groups = (value?["config_groups"]?.members ?? []).map(\.value)
    let stated = [value?["weight_block_size"]] + groups.map { $0["weights"]?["block_structure"] }
    let shapes = Set(stated.compactMap { $0?.array?.compactMap(\.int) })
    let isShape = shapes.allSatisfy { $0.count == 2 && $0.allSatisfy { $0 > 0 } }
    blockShape = shapes.count == 1 && isShape ? shapes.first : nil
  }
}
