import Foundation
import Kernels
import TestSupport
import Testing

/// Functions of rows against the same in double precision, from the C library.
@Suite struct RowFunctionTests {
  private func matrix(_ values: [Float]) -> FloatMatrix {
    let matrix = FloatMatrix(rowCount: 1, columnCount: values.count)
    matrix.setRow(0, to: values[...])
    return matrix
  }

  private static let lengths = [1, 3, 8, 13, 100]

  private func numbers(_ count: Int, _ random: inout Seeded) -> [Float] {
    random.weights(count, scale: 12)
  }

  private func isNear(_ found: Float, _ expected: Double, within error: Double) -> Bool {
    abs(Double(found) - expected) <= error * max(abs(expected), 1e-3)
  }

  @Test(
    "activation functions are those of double precision to 1e-6 (seed 191)",
    arguments: InstructionSet.available, ActivationFunction.allCases)
  func activations(set: InstructionSet, function: ActivationFunction) {
    var random = Seeded(191)
    for count in Self.lengths {
      let values = numbers(count, &random)
      let found = matrix(values)
      found.activate(row: 0, columns: 0..<count, function, on: set)
      for (x, y) in zip(values.map(Double.init), found.row(0)) {
        let sigmoid = 1 / (1 + exp(-x))
        let inner = (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
        let expected =
          switch function {
          case .silu: x * sigmoid
          case .sigmoid: sigmoid
          case .geluTanh: 0.5 * x * (1 + tanh(inner))
          case .relu: max(x, 0)
          case .squaredReLU: max(x, 0) * max(x, 0)
          case .softplus: max(x, 0) + log1p(exp(-abs(x)))
          }
        // The hyperbolic tangent has an absolute error, which small results show.
        #expect(isNear(y, expected, within: 1e-6) || abs(Double(y) - expected) < 2e-7 * abs(x))
      }
      let factors = matrix(numbers(count, &random))
      let product = matrix(values)
      product.activate(row: 0, columns: 0..<count, function, times: factors, on: set)
      #expect(
        product.row(0).bits == zip(found.row(0), factors.row(0)).map { ($0 * $1).bitPattern })
    }
  }

  @Test(
    "the gate of gpt-oss and xIELU are those of double precision to 1e-6 (seed 198)",
    arguments: InstructionSet.available)
  func gates(set: InstructionSet) {
    var random = Seeded(198)
    let unit = ExpandedUnit(above: 0.8, below: 0.7, slope: 0.5, limit: -1e-6)
    for count in Self.lengths {
      let (values, factors) = (numbers(count, &random), numbers(count, &random))
      let gated = matrix(values)
      gated.gate(row: 0, by: matrix(factors), scale: 1.702, limit: 7, on: set)
      let bent = matrix(values)
      bent.activate(row: 0, unit, on: set)
      for index in 0..<count {
        let (x, y) = (Double(values[index]), Double(factors[index]))
        let z = min(x, 7)
        let gate = (max(-7, min(y, 7)) + 1) * z / (1 + exp(-Double(Float(1.702)) * z))
        #expect(isNear(gated[0, index], gate, within: 2e-6))
        let curve =
          x > 0
          ? Double(unit.above) * x * x
          : Double(unit.below) * (expm1(min(x, Double(unit.limit))) - x)
        // Both terms cancel where x is small.
        #expect(abs(Double(bent[0, index]) - (curve + 0.5 * x)) < 2e-6 * (abs(curve) + abs(x)))
      }
    }
    let special = matrix([.nan, .infinity])
    special.gate(row: 0, by: matrix([1, .nan]), scale: 1.702, limit: 7, on: set)
    #expect(special[0, 0].isNaN && special[0, 1].isNaN)
    let undefined = matrix([.nan])
    undefined.activate(row: 0, unit, on: set)
    #expect(undefined[0, 0].isNaN)
  }

  @Test("NaN stays NaN, and infinities have their limits", arguments: InstructionSet.available)
  func special(set: InstructionSet) {
    for function in ActivationFunction.allCases {
      let found = matrix([.nan])
      found.activate(row: 0, columns: 0..<1, function, on: set)
      #expect(found[0, 0].isNaN, "\(function)")
    }
    let found = matrix([.infinity, -.infinity])
    found.activate(row: 0, columns: 0..<2, .sigmoid, on: set)
    #expect(found[0, 0] == 1 && found[0, 1] < 1e-37)
    let capped = matrix([.infinity, -1e30, .nan])
    capped.cap(row: 0, columns: 0..<3, to: 30, on: set)
    #expect(capped[0, 0] == 30 && capped[0, 1] == -30 && capped[0, 2].isNaN)
  }

  @Test(
    "a softmax is that of double precision to 2e-6 (seed 192)",
    arguments: InstructionSet.available)
  func softmax(set: InstructionSet) {
    var random = Seeded(192)
    for count in Self.lengths {
      let values = numbers(count, &random)
      let found = matrix([5] + values + [7])
      found.softmax(row: 0, columns: 1..<count + 1, scale: 0.7, on: set)
      let scaled = values.map { Double(0.7 * $0) }
      let top = scaled.max() ?? 0
      let sum = scaled.reduce(0) { $0 + exp($1 - top) }
      for (x, y) in zip(scaled, found.row(0).dropFirst()) {
        #expect(abs(Double(y) - exp(x - top) / sum) <= 2e-6 * exp(x - top) / sum + 1e-30)
      }
      #expect(found[0, 0] == 0 && found[0, count + 1] == 0)
    }
  }

  @Test(
    "norms are those of double precision to 1e-6 (seed 193)",
    arguments: InstructionSet.available, [false, true])
  func norms(set: InstructionSet, subtractsMean: Bool) {
    var random = Seeded(193)
    for count in Self.lengths {
      let (values, weights) = (numbers(count, &random), numbers(count, &random))
      let biases = numbers(count, &random)
      let found = matrix(values)
      found.norm(
        row: 0, columns: 0..<count,
        by: RowNorm(
          subtractsMean: subtractsMean, epsilon: 1e-5, weights: weights, addend: 1,
          biases: biases), into: found, on: set)
      let x = values.map(Double.init)
      let mean = subtractsMean ? x.reduce(0, +) / Double(count) : 0
      let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count)
      for index in 0..<count {
        let normed = (x[index] - mean) / (variance + 1e-5).squareRoot()
        let factor = Double(weights[index]) + 1
        let expected = normed * factor + Double(biases[index])
        let size = abs(normed * factor) + abs(Double(biases[index])) + abs(mean * factor)
        #expect(abs(Double(found[0, index]) - expected) <= 1e-6 * max(size, 1e-3))
      }
    }
  }

  @Test("every instruction set gives the same bits (seed 194)") func sets() {
    var random = Seeded(194)
    for count in Self.lengths {
      let (values, others) = (numbers(count, &random), numbers(count, &random))
      let results = InstructionSet.available.map { set -> [UInt32] in
        var bits: [UInt32] = []
        let all = 0..<count
        for function in ActivationFunction.allCases {
          let x = matrix(values)
          x.activate(row: 0, columns: all, function, times: matrix(others), on: set)
          bits += x.row(0).bits
        }
        let gated = matrix(values)
        gated.gate(row: 0, by: matrix(others), scale: 1.702, limit: 7, on: set)
        let bent = matrix(values)
        bent.activate(
          row: 0, ExpandedUnit(above: 0.8, below: 0.7, slope: 0.5, limit: -1e-6), on: set)
        bits += gated.row(0).bits + bent.row(0).bits
        let x = matrix(values)
        x.cap(row: 0, columns: all, to: 5, scale: 0.3, on: set)
        x.norm(
          row: 0, columns: all,
          by: RowNorm(subtractsMean: true, epsilon: 1e-6, weights: others), into: x, on: set)
        x.add(matrix(others), row: 0, scale: 0.1, to: 0, on: set)
        bits += x.row(0).bits
        let sums = (x.logSumExp(row: 0, on: set), matrix(others).logSumExp(row: 0, on: set))
        let divergence = x.divergence(
          row: 0, sum: sums.0, from: matrix(others), otherSum: sums.1, on: set)
        for number in [sums.0, sums.1, divergence] {
          bits += [UInt32(truncatingIfNeeded: number.bitPattern), UInt32(number.bitPattern >> 32)]
        }
        x.softmax(row: 0, columns: all, scale: 2, on: set)
        return bits + x.row(0).bits
      }
      #expect(results.allSatisfy { $0 == results[0] })
    }
  }

  @Test("sums of exponentials and divergences are those of double precision (seed 195)")
  func divergence() {
    var random = Seeded(195)
    for count in [2, 9, 64, 1000] {
      let (p, q) = (numbers(count, &random), numbers(count, &random))
      let (a, b) = (matrix(p), matrix(q))
      func sum(_ values: [Float]) -> Double {
        let top = values.map(Double.init).max() ?? 0
        return top + log(values.reduce(0) { $0 + exp(Double($1) - top) })
      }
      let (first, second) = (a.logSumExp(row: 0), b.logSumExp(row: 0))
      #expect(abs(first - sum(p)) < 1e-6 && abs(second - sum(q)) < 1e-6)
      let expected = zip(p, q).reduce(0) { total, pair in
        let (x, y) = (Double(pair.0) - sum(p), Double(pair.1) - sum(q))
        return total + exp(x) * (x - y)
      }
      let found = a.divergence(row: 0, sum: first, from: b, otherSum: second)
      #expect(abs(found - expected) < 1e-6 * max(1, expected))
      #expect(a.divergence(row: 0, sum: first, from: matrix(p), otherSum: first) == 0)
    }
  }

  @Test("a rotation moves pairs by their angles, in either order") func rotation() {
    let (cosines, sines): ([Float], [Float]) = ([0.6, 0], [0.8, 1])
    let halves = matrix([9, 1, 2, 3, 4, 8])
    halves.rotate(
      row: 0, column: 1, cosines: cosines.span, sines: sines.span, neighbours: false)
    let expected: [Float] = [9, 1 * 0.6 - 3 * 0.8, -4, 3 * 0.6 + 1 * 0.8, 2, 8]
    #expect(halves.row(0) == expected)
    let neighbours = matrix([9, 1, 3, 2, 4, 8])
    neighbours.rotate(
      row: 0, column: 1, cosines: cosines.span, sines: sines.span, neighbours: true)
    #expect(neighbours.row(0) == expected)
  }
}
