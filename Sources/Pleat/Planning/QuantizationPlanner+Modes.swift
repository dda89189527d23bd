internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Decisions for the modes of MLX whose codes are numbers themselves.
extension QuantizationPlanner {
  /// The wish for a mode.
  ///
  /// Throws `usage` if the format does not store it, and what `unquantizable` throws.
  func quantize(
    _ tensor: TensorInfo, in mode: ScaledMode, _ reason: String
  ) throws(ModelError) -> TensorWish {
    try checkHolds(mode)
    if let codes = tensor.scaled, ScaledMode(codes) == mode {
      return TensorWish(keeping: tensor, "\(reason), as it is")
    }
    if let wish = TensorWish(rearranging: tensor, for: format, "\(reason), as it is"),
      case .scaled(let codes) = wish.target.encoding, ScaledMode(codes) == mode
    {
      return wish
    }
    if let wish = try unquantizable(tensor, reason, groupSize: mode.groupSize) { return wish }
    let encoder = ScaledEncoder(
      mode, ofWeightsIn: tensor.floatType ?? .f32, decoded: tensor.usualType)
    return TensorWish(
      tensor, to: .scaled(encoder.encoding), .encode([], .scaled(encoder)), reason)
  }

  /// Throws `usage` if the format does not store the codes and scales of a mode.
  func checkHolds(_ mode: ScaledMode) throws(ModelError) {
    guard format.carries(.scaled(mode.codes)) != .exact else { return }
    let able = Formats.all.filter { $0.carries(.scaled(mode.codes)) == .exact }.map(\.name)
    throw ModelError(
      .usage, "\(format.name) cannot store the mode \(mode.name) of MLX",
      expected: "--to " + able.joined(separator: " or --to "), found: "--to \(format.name)",
      hint: mode == .mxfp4 && format.holdsBlocks ? "--type MXFP4_MOE makes its blocks" : nil)
  }

  /// Whether a rule with a block type means the mode with the same name.
  ///
  /// llama.cpp and MLX both have an MXFP4, and choose other scales. A format without blocks, and a
  /// recipe with a mode, mean that of MLX.
  func meansMode(of type: BlockType) -> Bool {
    type == .mxfp4 && (recipe.mode != nil || format.carries(type.encoding) != .exact)
      && format.carries(.scaled(.mxfp4)) == .exact
  }

  /// The type that plain numbers of a type get; nil if they keep it.
  ///
  /// With a mode and without `--parameters` that is their own type, as in MLX, which has no F64.
  func commonType(for type: ScalarType) -> ScalarType? {
    guard format.usesOneFloatType else { return nil }
    return recipe.parameters ?? (type == .f64 ? .f32 : nil)
  }

  /// The stored type of the scales and biases of a weight.
  func parameters(of tensor: TensorInfo) -> ScalarType {
    recipe.parameters ?? tensor.usualType
  }
}

extension TensorInfo {
  /// The type of its plain numbers if it is F16, BF16 or F32; otherwise nil.
  fileprivate var floatType: ScalarType? {
    guard case .plain(let type) = encoding, Grouping.supportedParameters.contains(type) else {
      return nil
    }
    return type
  }

  /// The type of its numbers: F16, BF16 or F32.
  fileprivate var usualType: ScalarType { floatType ?? encoding.decodedType ?? .f32 }
}
