internal import Bytes
internal import Kernels
internal import TensorModel

extension LayerPass {
  /// What a layer of Mamba 2 adds to each token.
  ///
  /// Throws what reading weights throws.
  func recurred(
    _ input: FloatMatrix, _ weights: StateSpaceWeights, _ sizes: Recurrence
  ) throws(ModelError) -> FloatMatrix {
    let parts = try products(input, [weights.gate, weights.channels, weights.steps])
    let channels = try convolved(parts[1], weights.convolution)
    let (decays, rates) = decaysAndSteps(parts[2], weights)
    let mixed = try recurred(channels, sizes, decays: decays, rates: rates)
    let (gates, skips, norms) = (parts[0], weights.skips, weights.norms)
    try workers.run(mixed.rowCount) { (row) throws(ModelError) in
      // Values are the first channels.
      mixed.addProducts(of: channels, row: row, skips, row: 0, to: row)
      gates.activate(row: row, columns: 0..<gates.columnCount, .silu, times: mixed)
      for (group, norm) in norms.enumerated() {
        let size = gates.columnCount / norms.count
        gates.norm(
          row: row, columns: group * size..<(group + 1) * size, by: norm, into: gates)
      }
    }
    return try products(gates, [weights.output])[0]
  }

  /// What states are multiplied by, and the time steps that values are multiplied by: heads × rows.
  private func decaysAndSteps(
    _ numbers: FloatMatrix, _ weights: StateSpaceWeights
  ) -> (decays: [[Float]], steps: [[Float]]) {
    let steps = weights.stepBiases.enumerated().map { head, bias in
      (0..<numbers.rowCount).map { row in
        max(Platform.softplus(numbers[row, head] + bias), shape.leastStep)
      }
    }
    let decays = zip(steps, weights.decays).map { steps, decay in
      steps.map { Platform.exponential($0 * decay) }
    }
    return (decays, steps)
  }
}
