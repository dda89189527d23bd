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
    func required(_ stem: String) throws(ModelError) -> RowNorm {
      if let norm = try norm(stem, shape.width) { return norm }
      throw ModelError(.malformed, "the model lacks a tensor", tensor: name(stem + ".weight"))
    }
    var router = shape.plainNorm
    let factor = 1 / Float(shape.width).squareRoot()
    router.weights = try numbers("ffn_gate_inp.scale", shape.width).map { $0.map { factor * $0 } }
    return .init(
      network: try required("post_ffw_norm_1"), input: input, router: router,
      output: try required("post_ffw_norm_2"))
  }

  /// A vector of so many numbers; nil if the model lacks it.
  private func numbers(_ stem: String, _ count: Int) throws(ModelError) -> [Float]? {
    guard let numbers = try weights.vector(name(stem)) else { return nil }
    guard numbers.count == count else {
      throw ModelError(
        .malformed, "the vector has another size than the config states", tensor: name(stem),
        expected: "\(count)", found: "\(numbers.count)")
    }
    return numbers
  }
}
