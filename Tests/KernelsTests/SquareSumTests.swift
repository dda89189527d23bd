import Kernels
import TestSupport
import Testing

/// Sums of squares against integers, and in every order.
@Suite struct SquareSumTests {
  private func matrix(_ rows: [[Float]]) -> FloatMatrix {
    let matrix = FloatMatrix(rowCount: rows.count, columnCount: rows[0].count)
    for (index, row) in rows.enumerated() { matrix.setRow(index, to: row[...]) }
    return matrix
  }

  private func sums(_ rows: [[Float]], on set: InstructionSet) -> SquareSums {
    var sums = SquareSums(columnCount: rows[0].count)
    sums.add(matrix(rows), on: set)
    return sums
  }

  /// Numbers of very different sizes; some columns have zeros and numbers of the least exponent.
  private func rows(_ rowCount: Int, _ columnCount: Int, _ random: inout Seeded) -> [[Float]] {
    (0..<rowCount).map { _ in
      random.weights(columnCount, scale: 2).map { value in
        switch random.next() % 8 {
        case 0: 0
        case 1: .leastNonzeroMagnitude
        case let step: Float(sign: .minus, exponent: 16 * Int(step) - 60, significand: value)
        }
      }
    }
  }

  /// The digits of the squares of a column, one number after the other.
  private func twin(_ column: [Float]) -> (top: UInt8, words: [UInt64]) {
    let parts = column.map { value in
      let exponent = UInt64(value.exponentBitPattern)
      let m = exponent == 0 ? 0 : UInt64(value.significandBitPattern) + 1 << 23
      let (square, place) = (m * m, 2 * exponent + 2)
      return (square: square, bin: Int(place / 32), shift: Int(18 + place % 32))
    }
    let top = parts.map(\.bin).max() ?? 0
    var words: [UInt64] = [0, 0, 0]
    for part in parts {
      // The digits of the bins of the square, from the lowest.
      let (high, low) = (part.square >> (64 - part.shift), part.square << part.shift)
      for (digit, number) in [low % (1 << 32), low >> 32, high].enumerated() {
        let word = digit - (top - part.bin)
        if word >= 0 { words[word] += number }
      }
    }
    return (UInt8(top), words)
  }

  @Test("sums match a plain loop (seed 301)", arguments: InstructionSet.available)
  func values(set: InstructionSet) {
    var random = Seeded(301)
    for (rowCount, columnCount) in [(1, 1), (3, 7), (40, 64), (17, 131), (5, 256)] {
      let rows = rows(rowCount, columnCount, &random)
      let found = sums(rows, on: set)
      for column in 0..<columnCount {
        let expected = twin(rows.map { $0[column] })
        #expect(found.tops[column] == expected.top)
        for digit in 0..<3 {
          #expect(found.words[column + digit * columnCount] == expected.words[digit])
        }
      }
    }
  }

  @Test("sums of parts in any order are those of the whole (seed 302)") func order() {
    var random = Seeded(302)
    let rows = rows(60, 21, &random)
    let whole = sums(rows, on: .best)
    for _ in 0..<20 {
      var shuffled = rows
      for index in shuffled.indices.dropFirst() {
        shuffled.swapAt(index, Int(random.next() % UInt64(index + 1)))
      }
      let cut = Int(random.next() % 59) + 1
      var left = sums(Array(shuffled[..<cut]), on: .best)
      let right = sums(Array(shuffled[cut...]), on: .best)
      left.add(right)
      #expect(left == whole)
    }
  }

  @Test("sums of whole numbers are exact, and rounded once") func exact() {
    var sums = SquareSums(columnCount: 3)
    // 2²⁴ + 1 lies between two floats, at the same distance from both; the rest decides.
    sums.add(matrix([[4096, 4096, 3], [1, 1, 4], [0, 1.0 / 1024, 12]]))
    #expect(sums.sum(column: 0) == 16_777_216)
    #expect(sums.sum(column: 1) == 16_777_218)
    #expect(sums.sum(column: 2) == 169)
    #expect(SquareSums(columnCount: 1).sum(column: 0) == 0)
  }

  @Test("numbers that are not finite, and sums that are too large, are infinite")
  func infinite() {
    for value in [Float.infinity, -.infinity, .nan, .greatestFiniteMagnitude, 2e19] {
      #expect(sums([[value, 1]], on: .best).sum(column: 0) == .infinity)
      #expect(sums([[value, 1]], on: .best).sum(column: 1) == 1)
    }
    #expect(sums([[1e19]], on: .best).sum(column: 0).isFinite)
  }
}
