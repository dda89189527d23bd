internal import Architectures
internal import Kernels
internal import TensorModel

/// The weights of alternating updates (arXiv 2301.13310) of a layer, which computes one of several
/// states of a token, predicts the others, and corrects them.
struct UpdateWeights: Sendable {
  /// Makes a number for each state, of which the hyperbolic tangent is taken.
  var router: Linear
  /// The norm of its input, divided by the width.
  var routerNorm: RowNorm
  /// The factors of states in predictions, from the numbers of the router: states · states × states.
  var prediction: [Float]
  /// What corrections are multiplied by, minus 1, from the numbers of the router: states × states.
  var correction: [Float]
  /// What the first state is multiplied by before the inputs of the layer are used.
  var outputScale: [Float]
}

/// The weights of a way around attention (LAuReL, arXiv 2411.07501): x + norm(right(left x)).
struct BypassWeights: Sendable {
  var left: Linear
  var right: Linear
  var norm: RowNorm
}

/// The matrices that make the other states of a token from its embedding, and what they add to the
/// output.
struct StateWeights: Sendable {
  var projections: [Linear]
  var returns: [Linear]

  /// Finds the weights; nil for a model with one state for each token.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  init?(_ weights: NetworkWeights, _ shape: DecoderShape) throws(ModelError) {
    guard shape.kind.alternatesUpdates else { return nil }
    let finder = LayerFinder(prefix: "", weights: weights, shape: shape)
    func matrices(_ stem: String) throws(ModelError) -> [Linear] {
      try finder.stack(
        stem, VariedLayerSizes.updateCount - 1, rows: shape.width, columns: shape.width)
    }
    projections = try matrices("altup_proj")
    returns = try matrices("altup_unembd_proj")
  }
}

extension LayerFinder {
  /// The weights of alternating updates.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func updates() throws(ModelError) -> UpdateWeights {
    let count = VariedLayerSizes.updateCount
    var norm = try required("altup_router_norm")
    norm.weights = norm.weights?.map { $0 / Float(shape.width) }
    return UpdateWeights(
      router: try linear("altup_router", count, shape.width), routerNorm: norm,
      prediction: try required("altup_predict_coef.weight", count * count * count),
      correction: try required("altup_correct_coef.weight", count * count),
      outputScale: try required("altup_correct_scale.weight", shape.width))
  }

  /// The weights of a way around attention.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func bypass() throws(ModelError) -> BypassWeights {
    let rank = try weights.matrix(name("laurel_l.weight")).rowCount
    return BypassWeights(
      left: try linear("laurel_l", rank, shape.width),
      right: try linear("laurel_r", shape.width, rank), norm: try required("laurel_post_norm"))
  }
}

extension Decoder {
  /// The other states of tokens, from the first one; none for a model with one state.
  ///
  /// Throws what reading weights throws.
  func otherStates(
    of state: FloatMatrix, _ batch: TokenBatch, by workers: Workers
  ) throws(ModelError) -> [FloatMatrix] {
    guard let weights = states else { return [] }
    return try alike(
      state,
      workers.products(
        of: state, rows: 0..<state.rowCount, with: weights.projections,
        keeping: keptWeights(for: batch)))
  }

  /// Replaces the first state by the mean of all, after matrices of the others.
  ///
  /// Throws what reading weights throws.
  func mix(
    _ others: [FloatMatrix], into state: FloatMatrix, _ batch: TokenBatch, by workers: Workers
  ) throws(ModelError) {
    guard let weights = states else { return }
    let parts = try workers.products(
      of: others, with: weights.returns, keeping: keptWeights(for: batch))
    for part in alike(state, parts) {
      for row in 0..<state.rowCount { state.add(part, row: row, to: row) }
    }
    for row in 0..<state.rowCount {
      state.scale(row: row, by: 1 / Float(VariedLayerSizes.updateCount))
    }
  }

  /// Scales rows to the root of the mean square of those of a state, which are at least 1e-5 before.
  private func alike(_ state: FloatMatrix, _ parts: [FloatMatrix]) -> [FloatMatrix] {
    for row in 0..<state.rowCount {
      let target = state.meanSquare(row: row).squareRoot()
      for part in parts {
        part.scale(row: row, by: Float(target / max(part.meanSquare(row: row), 1e-5).squareRoot()))
      }
    }
    return parts
  }
}

extension FloatMatrix {
  /// The mean of the squares of a row, which are added in their order.
  fileprivate func meanSquare(row: Int) -> Double {
    withRow(row) { numbers in
      var sum = 0.0
      for index in numbers.indices { sum += Double(numbers[index]) * Double(numbers[index]) }
      return sum / Double(numbers.count)
    }
  }
}
