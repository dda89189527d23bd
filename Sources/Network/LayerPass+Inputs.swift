internal import Kernels
internal import TensorModel

/// The weights that make the inputs that layers have of their own.
struct InputWeights: Sendable {
  /// Inputs of each token: tokens × (layers · numbers of an input).
  var table: WeightMatrix
  /// Makes as many from the embedding of a token.
  var projection: Linear
  /// The norm of what the projection makes for a layer.
  var norm: RowNorm

  /// Finds the weights; nil for a model without such inputs.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  init?(_ weights: NetworkWeights, _ shape: DecoderShape) throws(ModelError) {
    guard shape.layerInputWidth > 0 else { return nil }
    let width = shape.layerInputWidth * shape.layers.count
    table = try weights.matrix("per_layer_token_embd.weight", for: .rows)
    try weights.check(table, rows: shape.vocabularySize, columns: width)
    projection = try weights.linear("per_layer_model_proj", rows: width, columns: shape.width)
    let stem = "per_layer_proj_norm"
    guard let norm = try weights.norm(stem, shape.layerInputWidth, shape) else {
      throw ModelError(.malformed, "the model lacks a tensor", tensor: stem + ".weight")
    }
    self.norm = norm
  }
}

extension Decoder {
  /// The inputs that layers have of their own, (norm(P e / √width) + √n · t) / √2, with the embedding
  /// e of a token and n numbers t for each layer: tokens × (layers · n); nil without them.
  ///
  /// Throws what reading weights throws.
  func layerInputs(
    _ batch: TokenBatch, _ embeddings: FloatMatrix, by workers: Workers
  ) throws(ModelError) -> FloatMatrix? {
    guard let weights = inputs else { return nil }
    let result = try workers.products(
      of: embeddings, rows: 0..<embeddings.rowCount, with: [weights.projection],
      keeping: keptWeights(for: batch))[0]
    let count = shape.layerInputWidth
    let known = try weights.table.rows(batch.tokens, times: Float(count).squareRoot())
    for row in 0..<result.rowCount {
      result.scale(row: row, by: 1 / Float(shape.width).squareRoot())
      for start in stride(from: 0, to: result.columnCount, by: count) {
        result.norm(row: row, columns: start..<start + count, by: weights.norm, into: result)
      }
      result.add(known, row: row, to: row)
      result.scale(row: row, by: Float(0.5).squareRoot())
    }
    return result
  }
}

extension LayerPass {
  /// What the inputs of the layer add to each token, before a norm.
  ///
  /// Throws what reading weights throws.
  func gated(
    _ inputs: FloatMatrix, by state: FloatMatrix, _ weights: DecoderLayer.LayerInputs
  ) throws(ModelError) -> FloatMatrix {
    let gates = try products(state, [weights.gate])[0]
    activate(gates, times: inputs, from: number * gates.columnCount)
    return try products(gates, [weights.projection])[0]
  }
}
