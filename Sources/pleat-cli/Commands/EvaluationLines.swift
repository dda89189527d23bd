internal import Pleat

/// The report of `eval`.
struct EvaluationLines {
  private let result: EvaluationResult
  private let evaluation: Evaluation
  private let seconds: Double

  init(_ result: EvaluationResult, _ evaluation: Evaluation, seconds: Double) {
    self.result = result
    self.evaluation = evaluation
    self.seconds = seconds
  }

  /// The definition, the perplexity, and the comparison.
  var all: [String] {
    var table = Table([.left, .left])
    let own = result.model
    table.add("perplexity", with(own.perplexity, own.perplexityError))
    if let comparison = result.comparison { add(comparison, to: &table) }
    return table.lines + layerLines + ["", definition] + writtenLines
  }

  private func add(_ comparison: EvaluationResult.Comparison, to table: inout Table) {
    let base = comparison.base
    table.add(
      comparison.unadapted == nil ? "of the base" : "of the base with adapters",
      with(base.perplexity, base.perplexityError))
    let ratio = comparison.logRatio
    table.add("ln of the ratio", with(ratio.mean, ratio.error))
    let divergence = comparison.divergence
    table.add("divergence", with(divergence.mean, divergence.error) + " nats")
    table.add(
      "",
      "median \(number(divergence.quantile(0.5))), 99 % \(number(divergence.quantile(0.99))), "
        + "99.9 % \(number(divergence.quantile(0.999))), largest \(number(divergence.largest))")
    let top = comparison.sameTop
    table.add("same top token", with(100 * top.mean, top.error.map { 100 * $0 }) + " %")
    table.add(
      "change of probability",
      "\(Quantities.fixed(100 * comparison.probabilityChange.rootMeanSquare, 3)) % (RMS)")
    guard let unadapted = comparison.unadapted else { return }
    let alone = unadapted.prediction
    table.add("base without adapters", with(alone.perplexity, alone.perplexityError))
    let change = unadapted.divergence
    table.add("its divergence", with(change.mean, change.error) + " nats")
  }

  private var layerLines: [String] {
    guard !result.layerErrors.isEmpty else { return [] }
    var table = Table([.right, .right])
    table.add("layer", "relative error of the output")
    for (layer, error) in result.layerErrors.enumerated() {
      table.add("\(layer)", Quantities.short(error))
    }
    return [""] + table.lines
  }

  /// What was counted, so that numbers of other programs can be laid beside it.
  private var definition: String {
    let which = evaluation.options.scoring == .half ? "the second half" : "all"
    let begin = evaluation.beginID.map { ", each beginning with token \($0)" } ?? ""
    return "\(Quantities.exact(result.predictionCount)) predictions: \(which) of "
      + "\(Quantities.number(evaluation.chunkCount, of: "chunk")) of "
      + "\(Quantities.exact(evaluation.contextLength)) tokens\(begin); "
      + Quantities.seconds(seconds)
  }

  private var writtenLines: [String] {
    guard let path = evaluation.options.logitsPath, let count = evaluation.logitsByteCount else {
      return []
    }
    return ["wrote \(path.escaped)  \(Quantities.bytes(count)) of log probabilities"]
  }

  // One prediction shows no error.
  private func with(_ value: Double, _ error: Double?) -> String {
    number(value) + (error.map { " ± \(number($0))" } ?? "")
  }

  private func number(_ value: Double) -> String {
    value.magnitude >= 0.1 ? Quantities.fixed(value, 4) : Quantities.fixed(value, 6)
  }
}
