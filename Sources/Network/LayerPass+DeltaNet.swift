internal import Bytes
internal import Kernels
internal import TensorModel

extension LayerPass {
  // What transformers adds to the sum of the squares of a query or a key.
  private static let lengthAddend = 1e-6

  /// What linear attention by the gated delta rule adds to each token.
  ///
  /// Throws what reading weights throws.
  func recurred(
    _ input: FloatMatrix, _ weights: DeltaNetWeights, _ sizes: Recurrence
  ) throws(ModelError) -> FloatMatrix {
    let parts = try products(input, [weights.channels, weights.gate] + weights.steps)
    let channels = try convolved(parts[0], weights.convolution)
    try normalizeKeys(channels, sizes)
    let (decays, rates) = decaysAndRates(Array(parts[2...]), weights, sizes)
    let mixed = try recurred(channels, sizes, decays: decays, rates: rates)
    let (gates, size, norm) = (parts[1], sizes.head.valueSize, weights.norm)
    try workers.run(mixed.rowCount) { (row) throws(ModelError) in
      for column in stride(from: 0, to: mixed.columnCount, by: size) {
        mixed.norm(row: row, columns: column..<column + size, by: norm, into: mixed)
      }
      gates.activate(row: row, columns: 0..<gates.columnCount, .silu, times: mixed)
    }
    return try products(gates, [weights.output])[0]
  }

  /// Divides queries and keys by their lengths, and queries by the root of their size, too.
  private func normalizeKeys(_ channels: FloatMatrix, _ sizes: Recurrence) throws(ModelError) {
    let (size, count) = (sizes.head.keySize, sizes.keyCount)
    func norm(_ weight: Double) -> RowNorm {
      // A norm divides by the root of the mean square, which is the length without this factor.
      RowNorm(
        subtractsMean: false, epsilon: Self.lengthAddend / Double(size),
        weights: Array(repeating: Float(weight), count: size))
    }
    let norms = (norm(1 / Double(size)), norm(1 / Double(size).squareRoot()))
    try workers.run(channels.rowCount) { (row) throws(ModelError) in
      for column in stride(from: 0, to: 2 * count, by: size) {
        channels.norm(
          row: row, columns: column..<column + size, by: column < count ? norms.0 : norms.1,
          into: channels)
      }
    }
  }

  /// What states are multiplied by, and what is added to them: heads × rows.
  private func decaysAndRates(
    _ parts: [FloatMatrix], _ weights: DeltaNetWeights, _ sizes: Recurrence
  ) -> (decays: [[Float]], rates: [[Float]]) {
    let (count, shared) = (parts[0].rowCount, sizes.headCount / sizes.keyHeadCount)
    let none = [[Float]](
      repeating: Array(repeating: 0, count: count), count: sizes.headCount)
    var (decays, rates) = (none, none)
    for head in 0..<sizes.headCount {
      // One matrix has the rates and then the steps of the heads that share a key.
      let column = parts.count == 1 ? head / shared * 2 * shared + head % shared : head
      let step = parts.count == 1 ? column + shared : column
      for row in 0..<count {
        let softened = Platform.softplus(parts[0][row, step] + weights.stepBiases[head])
        decays[head][row] = Platform.exponential(weights.decays[head] * softened)
        rates[head][row] = parts[parts.count - 1][row, column]
      }
      let matrix = FloatMatrix(rowCount: 1, columnCount: count)
      matrix.setRow(0, to: rates[head][...])
      matrix.activate(row: 0, columns: 0..<count, .sigmoid)
      rates[head] = matrix.row(0)
    }
    return (decays, rates)
  }
}
