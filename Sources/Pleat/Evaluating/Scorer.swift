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
  /// The predictions that it is compared with; nil for none.
  let logits: LogitsFile?
  /// The file that its predictions are written to; nil for none.
  let writing: LogitsWriting?
  let workers: Workers

  // The largest size of the logits of a block of rows.
  private static let logitByteCount = 64 << 20

  /// The scores of the predictions of a chunk.
  ///
  /// - Parameters:
  ///   - chunk: The number of the chunk.
  ///   - firstRow: The row of its position 0.
  ///   - positions: The positions whose predictions count.
  ///   - targets: The token that follows each of them.
  /// - Returns: A score for each position.
  /// - Throws: What reading weights throws, and what reading and writing log probabilities throws.
  func scores(
    chunk: Int, firstRow: Int, positions: Range<Int>, targets: [Int32]
  ) throws(ModelError) -> [PositionScore] {
    let length = max(1, Self.logitByteCount / (4 * model.decoder.shape.vocabularySize))
    var scores: [PositionScore] = []
    for start in stride(from: 0, to: positions.count, by: length) {
      let block = start..<min(start + length, positions.count)
      let first = positions.lowerBound + start
      let rows = firstRow + first..<firstRow + first + block.count
      let own = try logits(model, rows)
      try writing?.write(own, chunk: chunk, position: first, by: workers)
      let targets = Array(targets[block])
      if let logits {
        let base = try logits.predictions(
          chunk: chunk, positions: first..<first + block.count, targets: targets)
        scores += try workers.map(targets.count) { row in
          score(row: row, target: Int(targets[row]), own, base)
        }
        continue
      }
      let baseLogits = try base.map { side throws(ModelError) in try self.logits(side, rows) }
      let others = try unadapted.map { side throws(ModelError) in try self.logits(side, rows) }
      scores += try workers.map(targets.count) { row in
        score(row: row, target: Int(targets[row]), own, baseLogits, unadapted: others)
      }
    }
    return scores
  }

  /// The score of a prediction, compared with that of a file.
  private func score(
    row: Int, target: Int, _ logits: FloatMatrix, _ base: LogitsFile.Predictions
  ) -> PositionScore {
    let sum = logits.logSumExp(row: row)
    var score = PositionScore(loss: sum - Double(logits[row, target]))
    let (numbers, loss) = (base.logProbabilities, base.losses[row])
    score.against = PositionScore.Comparison(
      baseLoss: loss,
      divergence: numbers.divergence(row: row, sum: 0, from: logits, otherSum: sum),
      probabilityChange: Platform.exponential(-score.loss) - Platform.exponential(-loss),
      isSameTop: logits.largestColumn(row: row) == numbers.largestColumn(row: row))
    return score
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
