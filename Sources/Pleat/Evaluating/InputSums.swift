internal import Formats
internal import Kernels
internal import Network

/// The sums of the squares of the inputs of some weights that have the same inputs, and how many
/// tokens they have seen.
struct InputSum: Sendable, Equatable {
  /// The names of the weights in llama.cpp.
  var names: [String]
  /// The sums of each matrix of a stack; one matrix for other weights.
  var squares: [SquareSums]
  /// The number of tokens of each matrix.
  var counts: [Int]

  /// Whether other sums are those of the same weights, of the same size.
  func fits(_ other: InputSum) -> Bool {
    names == other.names && squares.map(\.columnCount) == other.squares.map(\.columnCount)
  }
}

/// Adds up the squares of inputs, with a result that does not depend on the order.
final class InputSums: LinearObserver {
  /// The sums by the name of the first of their weights.
  private(set) var sums: [String: InputSum]
  /// A weight whose earlier sums are those of another size; nil if all fit.
  private(set) var misfit: String?

  /// Begins with the sums of earlier tokens.
  init(after sums: [String: InputSum] = [:]) { self.sums = sums }

  func observe(
    _ inputs: FloatMatrix, of weights: [String], matrix: (index: Int, count: Int)?
  ) {
    guard let name = weights.first else { return }
    let (index, count) = matrix ?? (0, 1)
    var sum =
      sums.removeValue(forKey: name)
      ?? InputSum(
        names: weights,
        squares: Array(repeating: SquareSums(columnCount: inputs.columnCount), count: count),
        counts: Array(repeating: 0, count: count))
    guard sum.names == weights, sum.squares.count == count,
      sum.squares.allSatisfy({ $0.columnCount == inputs.columnCount })
    else {
      misfit = name
      return
    }
    sum.squares[index].add(inputs)
    sum.counts[index] += inputs.rowCount
    sums[name] = sum
  }

  /// Adds the sums of other tokens.
  func add(_ others: [String: InputSum]) {
    for (name, other) in others {
      guard var sum = sums.removeValue(forKey: name) else {
        sums[name] = other
        continue
      }
      guard sum.fits(other) else {
        misfit = name
        continue
      }
      for index in other.counts.indices {
        sum.squares[index].add(other.squares[index])
        sum.counts[index] += other.counts[index]
      }
      sums[name] = sum
    }
  }

  /// Whether all sums are finite, also as the floats that files hold.
  var areFinite: Bool {
    sums.values.allSatisfy { sum in
      sum.squares.allSatisfy { squares in
        (0..<squares.columnCount).allSatisfy { squares.sum(column: $0).isFinite }
      }
    }
  }

  /// The sums, each rounded once.
  var entries: [ImportanceMatrix.Entry] {
    sums.values.flatMap { sum in
      let rounded = sum.squares.flatMap { squares in
        (0..<squares.columnCount).map { squares.sum(column: $0) }
      }
      return sum.names.map { name in
        ImportanceMatrix.Entry(measured: name, sums: rounded, counts: sum.counts)
      }
    }
  }
}
