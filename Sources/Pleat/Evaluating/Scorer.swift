internal import Bytes
internal import Kernels
internal import Network
internal import TensorModel

/// Scores the predictions of a model, and compares them with those of others.
struct Scorer {
  /// A model that ran, and its hidden numbers.
  struct Side {
    var decoder: Decoder
    var hidden: FloatMatrix
  }

  let model: Side
  /// The model that it is compared with; nil for none.
  let base: Side?
  /// The base without its adapters; nil if it has none.
  let unadapted: Side?
  let workers: Workers

  // The largest size of the logits of a block of rows.
  private static let logitByteCount = 64 << 20

  /// The scores of the predictions of some rows; row i predicts `targets[i]`.
  ///
  /// Throws what reading weights throws.
  func scores(rows: Range<Int>, targets: [Int32]) throws(ModelError) -> [PositionScore] {
    let length = max(1, Self.logitByteCount / (4 * model.decoder.shape.vocabularySize))
    var scores: [PositionScore] = []
    for start in stride(from: 0, to: rows.count, by: length) {
      let block = start..<min(start + length, rows.count)
      let part = rows.lowerBound + block.lowerBound..<rows.lowerBound + block.upperBound
      let logits = try logits(model, part)
      let baseLogits = try base.map { side throws(ModelError) in try self.logits(side, part) }
      let others = try unadapted.map { side throws(ModelError) in try self.logits(side, part) }
      let targets = Array(targets[block])
      scores += try workers.map(targets.count) { row in
        score(row: row, target: Int(targets[row]), logits, baseLogits, unadapted: others)
      }
    }
    return scores
  }

  private func logits(_ side: Side, _ rows: Range<Int>) throws(ModelError) -> FloatMatrix {
    try side.decoder.logits(of: side.hidden, rows: rows, by: workers)
  }

  private func score(
    row: Int, target: Int, _ logits: FloatMatrix, _ baseLogits: FloatMatrix?,
    unadapted: FloatMatrix?
  ) -> PositionScore {
    let sum = logits.logSumExp(row: row)
    var score = PositionScore(loss: sum - Double(logits[row, target]))
    guard let baseLogits else { return score }
    let baseSum = baseLogits.logSumExp(row: row)
    let baseLoss = baseSum - Double(baseLogits[row, target])
    score.against = PositionScore.Comparison(
      baseLoss: baseLoss,
      divergence: baseLogits.divergence(row: row, sum: baseSum, from: logits, otherSum: sum),
      probabilityChange: Platform.exponential(-score.loss) - Platform.exponential(-baseLoss),
      isSameTop: logits.largestColumn(row: row) == baseLogits.largestColumn(row: row))
    guard let unadapted else { return score }
    let otherSum = unadapted.logSumExp(row: row)
    score.against?.unadapted = PositionScore.Unadapted(
      loss: otherSum - Double(unadapted[row, target]),
      divergence: baseLogits.divergence(
        row: row, sum: baseSum, from: unadapted, otherSum: otherSum))
    return score
  }
}
