internal import Kernels
internal import TensorModel

extension LayerPass {
  /// What a short convolution adds to each token.
  ///
  /// The cache has the products b · x of earlier positions in place of keys. Positions before a text
  /// count as 0. Throws what reading weights throws.
  func convolved(
    _ input: FloatMatrix, _ weights: ConvolutionWeights, _ cache: Cache?
  ) throws(ModelError) -> FloatMatrix {
    let parts = try products(input, [weights.input])[0]
    let (width, size) = (shape.width, weights.kernel.count)
    let products = FloatMatrix(rowCount: parts.rowCount, columnCount: width)
    let result = FloatMatrix(rowCount: parts.rowCount, columnCount: width)
    for text in batch.texts {
      // The row of position 0.
      let first = cache == nil ? text.rows.lowerBound - text.firstPosition : 0
      for row in text.rows {
        let position = text.firstPosition + row - text.rows.lowerBound
        let numbers = parts.row(row)
        let own = (0..<width).map { numbers[$0] * numbers[2 * width + $0] }
        (cache?.keys ?? products).setRow(first + position, to: own[...])
        var sums = weights.bias ?? Array(repeating: 0, count: width)
        for (tap, factors) in weights.kernel.enumerated() {
          let source = position - (size - 1) + tap
          guard source >= 0 else { continue }
          let earlier = (cache?.keys ?? products).row(first + source)
          for index in 0..<width { sums[index].addProduct(factors[index], earlier[index]) }
        }
        for index in 0..<width { sums[index] *= numbers[width + index] }
        result.setRow(row, to: sums[...])
      }
    }
    return try self.products(result, [weights.output])[0]
  }
}
