internal import Kernels
internal import TensorModel

/// Blocks of NVFP4 with a factor beside them.
///
/// llama.cpp multiplies the products of the weight `blk.0.attn_q.weight` by the number of
/// `blk.0.attn_q.scale`, F32. It has one number for each expert of a stack.
enum BlockFactors {
  private static let weightEnding = ".weight"
  private static let factorEnding = ".scale"

  /// The stored tensors of a weight in such blocks.
  static func parts(of info: TensorInfo, _ codes: ScaledCodes) -> [StoredTensor] {
    let parts = codes.parts(of: info.shape)
    guard parts.count == 2, info.name.hasSuffix(weightEnding),
      let shape = factorShape(of: info.shape)
    else { preconditionFailure("not admitted") }
    return [
      StoredTensor(
        name: info.name, role: .blocks, shape: info.shape, encoding: BlockType.nvfp4.encoding,
        rows: parts[0].rows),
      StoredTensor(
        partOf: info.name, .init(factorEnding, replacing: weightEnding), role: .factor,
        shape: shape, encoding: .plain(.f32), rows: parts[1].rows),
    ]
  }

  /// The weights of a model that have a factor, by the index of their blocks.
  ///
  /// Throws `malformed` for a factor that is no F32 number for each matrix.
  static func weights(in stored: StoredContents) throws(ModelError) -> [Int: GatheredTensor] {
    let blocks = stored.tensors.indices.filter {
      stored.tensors[$0].encoding == BlockType.nvfp4.encoding
    }
    guard !blocks.isEmpty else { return [:] }
    let names = StoredNames(stored.tensors)
    var weights: [Int: GatheredTensor] = [:]
    for index in blocks {
      let tensor = stored.tensors[index]
      guard let factor = factorName(of: tensor.name).flatMap({ names[$0] }) else { continue }
      let codes = ScaledCodes.nvfp4(.multiplier, isInBlocks: true)
      guard codes.fits(tensor.shape), let shape = factorShape(of: tensor.shape),
        stored.tensors[factor].encoding == .plain(.f32), stored.tensors[factor].shape == shape
      else {
        throw ModelError(
          .malformed, "the tensor does not hold the factor of a weight in NVFP4",
          tensor: stored.tensors[factor].name, expected: "F32, a number for each matrix",
          found: "\(stored.tensors[factor].encoding), \(stored.tensors[factor].shape)")
      }
      weights[index] = GatheredTensor(
        info: TensorInfo(name: tensor.name, shape: tensor.shape, encoding: .scaled(codes)),
        parts: [index, factor], layouts: codes.parts(of: tensor.shape).map(\.rows))
    }
    return weights
  }

  /// The name of the factor of a weight; nil if no weight can have the name.
  static func factorName(of name: String) -> String? {
    guard name.hasSuffix(weightEnding) else { return nil }
    return name.dropLast(weightEnding.count) + factorEnding
  }

  private static func factorShape(of shape: Shape) -> Shape? {
    let count = shape.rank > 2 ? shape.dimensions.dropLast(2).reduce(1, *) : 1
    return Shape(validating: [count])
  }
}
