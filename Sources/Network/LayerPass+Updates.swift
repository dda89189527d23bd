internal import Architectures
internal import Kernels
internal import TensorModel

extension LayerPass {
  /// Replaces all states by those that the layer predicts.
  ///
  /// Returns the first of them, which the layer goes on to change. Throws what reading weights throws.
  func predict(_ state: FloatMatrix, _ weights: UpdateWeights) throws(ModelError) -> FloatMatrix {
    let states = [state] + otherStates
    let count = states.count
    let mixed = try factors(state, weights)
    let found = states.map { $0.copy() }
    for row in 0..<state.rowCount {
      let factors = Self.products(weights.prediction, mixed.row(row))
      for (index, sum) in found.enumerated() {
        for (source, other) in states.enumerated() {
          sum.add(other, row: row, scale: factors[index * count + source], to: row)
        }
      }
      for (index, sum) in found.enumerated() { states[index].setRow(row, to: sum, row: row) }
    }
    return found[0]
  }

  /// Adds to all predicted states what the layer changed the first of them by, times a factor of each.
  ///
  /// Throws what reading weights throws.
  func correct(
    _ state: FloatMatrix, from predicted: FloatMatrix, _ weights: UpdateWeights
  ) throws(ModelError) {
    let mixed = try factors(state, weights)
    for row in 0..<state.rowCount {
      let factors = Self.products(weights.correction, mixed.row(row)).map { $0 + 1 }
      state.add(predicted, row: row, scale: -1, to: row)
      for (index, other) in otherStates.enumerated() {
        other.add(state, row: row, scale: factors[index + 1], to: row)
      }
      predicted.add(state, row: row, scale: factors[0], to: row)
      state.setRow(row, to: predicted, row: row)
    }
  }

  /// The first state as the inputs of the layer use it.
  func scaled(_ state: FloatMatrix) -> FloatMatrix {
    guard let factors = layer.updates?.outputScale else { return state }
    let result = state.copy()
    for row in 0..<result.rowCount {
      result.withRow(row) { numbers in
        for index in numbers.indices { numbers[index] *= factors[index] }
      }
    }
    return result
  }

  /// Adds a way around attention, and divides by √2.
  ///
  /// Throws what reading weights throws.
  func add(
    bypass weights: BypassWeights, of input: FloatMatrix, to state: FloatMatrix
  ) throws(ModelError) {
    let inner = try products(input, [weights.left])[0]
    let output = try products(inner, [weights.right])[0]
    for row in 0..<state.rowCount {
      output.norm(row: row, columns: 0..<output.columnCount, by: weights.norm, into: output)
      output.add(input, row: row, to: row)
      state.add(output, row: row, to: row)
      state.scale(row: row, by: Float(0.5).squareRoot())
    }
  }

  /// The numbers of the router for each token.
  private func factors(
    _ state: FloatMatrix, _ weights: UpdateWeights
  ) throws(ModelError) -> FloatMatrix {
    let result = try products(normed(state, by: weights.routerNorm), [weights.router])[0]
    for row in 0..<result.rowCount {
      result.cap(row: row, columns: 0..<result.columnCount, to: 1)
    }
    return result
  }

  /// The products of a small matrix, row by row, with a vector.
  private static func products(_ matrix: [Float], _ vector: [Float]) -> [Float] {
    stride(from: 0, to: matrix.count, by: vector.count).map { start in
      vector.indices.reduce(Float(0)) { $0.addingProduct(matrix[start + $1], vector[$1]) }
    }
  }
}

extension FloatMatrix {
  /// Sets the numbers of a row that are less than so many standard deviations above the mean to 0,
  /// and subtracts that limit from the others.
  func keepLargest(row: Int, above deviations: Double) {
    withRow(row) { numbers in
      var (sum, squares) = (0.0, 0.0)
      for index in numbers.indices { sum += Double(numbers[index]) }
      let mean = sum / Double(numbers.count)
      for index in numbers.indices {
        let difference = Double(numbers[index]) - mean
        squares += difference * difference
      }
      let limit = Float(mean + deviations * (squares / Double(numbers.count)).squareRoot())
      for index in numbers.indices {
        // A number that is none stays so.
        numbers[index] = numbers[index] <= limit ? 0 : numbers[index] - limit
      }
    }
  }
}
