internal import Formats
internal import Kernels
internal import Network

/// The sums of the squares of the inputs of a weight, and how many tokens it has seen.
struct InputSum: Sendable, Equatable {
  /// The sums of each matrix of a stack, one for each column; one matrix for other weights.
  var squares: [[Double]]
  /// The number of tokens of each matrix.
  var counts: [Int]
}

/// Adds up the squares of inputs, in double, token by token.
final class InputSums: LinearObserver {
  private let expertCount: Int
  /// The sums by the names of the weights in llama.cpp.
  private(set) var sums: [String: InputSum]
  /// A weight whose earlier sums are those of another size; nil if all fit.
  private(set) var misfit: String?

  /// Begins with the sums of earlier tokens.
  init(expertCount: Int, after sums: [String: InputSum] = [:]) {
    self.expertCount = expertCount
    self.sums = sums
  }

  func observe(_ inputs: FloatMatrix, of weights: [String], expert: Int?) {
    let count = expert == nil ? 1 : expertCount
    for name in weights {
      let zeros = [Double](repeating: 0, count: inputs.columnCount)
      var sum =
        sums.removeValue(forKey: name)
        ?? InputSum(
          squares: Array(repeating: zeros, count: count), counts: Array(repeating: 0, count: count))
      guard sum.squares.count == count, sum.squares[0].count == inputs.columnCount else {
        misfit = name
        continue
      }
      for row in 0..<inputs.rowCount {
        inputs.addSquares(row: row, to: &sum.squares[expert ?? 0])
      }
      sum.counts[expert ?? 0] += inputs.rowCount
      sums[name] = sum
    }
  }

  /// Whether all sums are finite, also as the floats that files hold.
  var areFinite: Bool {
    sums.values.allSatisfy { sum in
      sum.squares.allSatisfy { squares in squares.allSatisfy { Float($0).isFinite } }
    }
  }

  /// The sums, each rounded once.
  var entries: [ImportanceMatrix.Entry] {
    sums.map { name, sum in
      ImportanceMatrix.Entry(
        measured: name, sums: sum.squares.flatMap { $0.map { Float($0) } }, counts: sum.counts)
    }
  }
}
