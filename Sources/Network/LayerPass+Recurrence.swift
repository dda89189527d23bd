internal import Kernels
internal import TensorModel

extension LayerPass {
  /// The states of a text before a pass, and those that the pass leaves; nil for whole texts.
  typealias States = (before: RecurrentState, after: RecurrentState)

  /// The convolution of each channel over the last positions, and the activation of that.
  ///
  /// Positions before a text count as 0. Throws if the workers are asked to stop.
  func convolved(
    _ channels: FloatMatrix, _ weights: ChannelConvolution
  ) throws(ModelError) -> FloatMatrix {
    let result = FloatMatrix(rowCount: channels.rowCount, columnCount: channels.columnCount)
    let (kernel, bias, size) = (weights.kernel, weights.bias, weights.kernel.rowCount)
    let (earlier, function) = (states?.before.inputs, weights.activation)
    let places = batch.texts.flatMap { text in text.rows.map { (row: $0, text: text) } }
    try workers.run(places.count) { (place) throws(ModelError) in
      let (row, text) = places[place]
      if let bias { result.setRow(row, to: bias[...]) }
      for tap in 0..<size {
        // How far the source is from the first row of the pass.
        let distance = row - text.rows.lowerBound - (size - 1 - tap)
        if distance >= 0 {
          result.addProducts(
            of: channels, row: text.rows.lowerBound + distance, kernel, row: tap, to: row)
        } else if let earlier, text.firstPosition + distance >= 0 {
          result.addProducts(of: earlier, row: size - 1 + distance, kernel, row: tap, to: row)
        }
      }
      result.activate(row: row, columns: 0..<result.columnCount, function)
    }
    keepInputs(channels)
    return result
  }

  /// Keeps the last inputs of the convolution for the next pass.
  private func keepInputs(_ channels: FloatMatrix) {
    guard let states, let text = batch.texts.first else { return }
    let count = states.after.inputs.rowCount
    for row in 0..<count {
      let source = text.rows.count + row - count
      if source >= 0 {
        states.after.inputs.setRow(row, to: channels, row: text.rows.lowerBound + source)
      } else {
        states.after.inputs.setRow(row, to: states.before.inputs, row: count + source)
      }
    }
  }

  /// What the heads of values give for each token: rows × (heads · numbers of a value).
  ///
  /// - Parameters:
  ///   - channels: The queries, keys and values of all heads.
  ///   - sizes: How they are divided.
  ///   - decays: What states are multiplied by: heads × rows.
  ///   - rates: What is added to states is multiplied by: heads × rows.
  /// - Returns: The outputs.
  /// - Throws: If the workers are asked to stop.
  func recurred(
    _ channels: FloatMatrix, _ sizes: Recurrence, decays: [[Float]], rates: [[Float]]
  ) throws(ModelError) -> FloatMatrix {
    let result = FloatMatrix(rowCount: channels.rowCount, columnCount: sizes.valueCount)
    let parts = batch.texts.flatMap { text in
      (0..<sizes.headCount).map { (text: text, head: $0) }
    }
    let states = states
    try workers.run(parts.count) { (part) throws(ModelError) in
      let (text, head) = parts[part]
      let state =
        states?.after.heads
        ?? FloatMatrix(rowCount: 1, columnCount: sizes.head.stateCount)
      let row = states == nil ? 0 : head
      if let states {
        if text.firstPosition > 0 {
          state.setRow(row, to: states.before.heads, row: row)
        } else {
          state.withRow(row) { numbers in for index in numbers.indices { numbers[index] = 0 } }
        }
      }
      sizes.head.run(
        channels, rows: text.rows, sizes.columns(ofHead: head),
        decays: Array(decays[head][text.rows]), rates: Array(rates[head][text.rows]),
        state: state, stateRow: row, into: result, column: head * sizes.head.valueSize)
    }
    return result
  }
}
