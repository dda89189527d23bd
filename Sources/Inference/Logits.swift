internal import Kernels

/// The logits of tokens of a text: a row for each token, with a number for each token that may follow.
///
/// The softmax of a row is the probability of each token to be the next one.
public struct Logits: Sendable {
  private let matrix: FloatMatrix  // rows × vocabulary, which nobody changes

  init(_ matrix: FloatMatrix) { self.matrix = matrix }

  init(rowCount: Int, vocabularySize: Int) {
    matrix = FloatMatrix(rowCount: rowCount, columnCount: vocabularySize)
  }

  /// The number of rows.
  public var rowCount: Int { matrix.rowCount }
  /// The number of logits of a row: the size of the vocabulary.
  public var vocabularySize: Int { matrix.columnCount }

  /// The logits of a row.
  public subscript(row: Int) -> [Float] { matrix.row(row) }

  /// The token with the largest logit of a row, the first of equal ones.
  public func mostProbableToken(row: Int) -> Int32 { Int32(matrix.largestColumn(row: row)) }

  /// The most probable token after the last row, of which there must be one.
  public var mostProbableToken: Int32 { mostProbableToken(row: rowCount - 1) }

  /// The last row without some tokens, whose logits become −∞; tokens that have no logit are ignored.
  func without(_ tokens: Set<Int32>) -> Logits {
    guard !tokens.isEmpty else { return self }
    let copy = FloatMatrix(rowCount: 1, columnCount: vocabularySize)
    copy.setRow(0, to: matrix, row: rowCount - 1)
    copy.withRow(0) { numbers in
      for token in tokens.map(Int.init) where numbers.indices.contains(token) {
        numbers[token] = -.infinity
      }
    }
    return Logits(copy)
  }

  /// Gives the numbers of a row without copying them.
  package func withRow<Result>(_ row: Int, _ body: (Span<Float>) -> Result) -> Result {
    matrix.withRow(row) { body($0.span) }
  }

  /// Whether all logits are finite, also if they are divided by a number.
  func isFinite(dividedBy divisor: Double = 1) -> Bool {
    (0..<rowCount).allSatisfy { row in
      (withRow(row) { largestMagnitude($0) } * Float(1 / divisor)).isFinite
    }
  }

  /// The softmax of a row of logits / temperature.
  func probabilities(row: Int, temperature: Double) -> [Float] {
    let copy = FloatMatrix(rowCount: 1, columnCount: vocabularySize)
    copy.setRow(0, to: matrix, row: row)
    copy.softmax(row: 0, columns: 0..<vocabularySize, scale: Float(1 / temperature))
    return copy.row(0)
  }
}
