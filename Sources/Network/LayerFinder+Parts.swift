internal import Kernels
internal import TensorModel

/// Parts that layers of few models have.
extension LayerFinder {
  /// How the layer uses inputs of its own.
  ///
  /// Throws `malformed` for a weight that is missing or has another shape.
  func inputs(_ inputWidth: Int) throws(ModelError) -> DecoderLayer.LayerInputs {
    .init(
      gate: try linear("inp_gate", inputWidth, shape.width),
      projection: try linear("proj", shape.width, inputWidth),
      norm: try norm("post_norm", shape.width))
  }

  /// What all numbers are multiplied by after the layer; nil if the model lacks it.
  ///
  /// Throws `malformed` for several numbers.
  func scale() throws(ModelError) -> Float? {
    try numbers("layer_output_scale.weight", 1)?[0]
  }

  /// What the weights of each expert are multiplied by; nil if the model lacks it.
  ///
  /// Throws `malformed` for another number of them.
  func scales(_ expertCount: Int) throws(ModelError) -> [Float]? {
    try numbers("ffn_down_exps.scale", expertCount)
  }

  /// The norms of experts beside the network of the layer; nil for experts in its place.
  ///
  /// Throws `malformed` for norms that are missing or have another size.
  func branchNorms() throws(ModelError) -> DecoderLayer.BranchNorms? {
    guard let input = try norm("pre_ffw_norm_2", shape.width) else { return nil }
    var router = shape.plainNorm
    let factor = 1 / Float(shape.width).squareRoot()
    router.weights = try numbers("ffn_gate_inp.scale", shape.width).map { $0.map { factor * $0 } }
    return .init(
      network: try required("post_ffw_norm_1"), input: input, router: router,
      output: try required("post_ffw_norm_2"))
  }

  /// A norm of hidden numbers.
  ///
  /// Throws `malformed` if it is missing or has another size.
  func required(_ stem: String) throws(ModelError) -> RowNorm {
    if let norm = try norm(stem, shape.width) { return norm }
    throw lack(of: stem + ".weight")
  }

  /// All numbers of a tensor, so many.
  ///
  /// Throws `malformed` if it is missing or has another size.
  func required(_ stem: String, _ count: Int) throws(ModelError) -> [Float] {
    if let numbers = try numbers(stem, count) { return numbers }
    throw lack(of: stem)
  }

  private func lack(of stem: String) -> ModelError {
    ModelError(.malformed, "the model lacks a tensor", tensor: name(stem))
  }

  /// All numbers of a tensor, so many; nil if the model lacks it.
  private func numbers(_ stem: String, _ count: Int) throws(ModelError) -> [Float]? {
    guard let numbers = try weights.vector(name(stem)) else { return nil }
    guard numbers.count == count else {
      throw ModelError(
        .malformed, "the tensor has another size than the config states", tensor: name(stem),
        expected: "\(count)", found: "\(numbers.count)")
    }
    return numbers
  }
}
