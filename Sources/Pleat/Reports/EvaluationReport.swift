public import Bytes

extension EvaluationResult {
  /// The result as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - evaluation: The evaluation.
  ///   - path: The path of the model.
  ///   - seconds: The time that it took.
  /// - Returns: An object with the schema `pleat.eval.1`.
  public func json(
    of evaluation: Evaluation, path: String, seconds: Double
  ) -> JSONValue {
    let own = model
    var members: [JSONValue.Member] = [
      .init("schema", "pleat.eval.1"),
      .init("path", .string(path)),
      .init("adapters", .array(evaluation.adapters.map(\.record))),
      .init("contextLength", JSONValue(evaluation.contextLength)),
      .init("chunkCount", JSONValue(evaluation.chunkCount)),
      .init("scoring", .string(evaluation.options.scoring.rawValue)),
      .init("beginToken", evaluation.beginID.map { JSONValue(Int($0)) } ?? .null),
      .init("tokenCount", JSONValue(predictionCount)),
    ]
    members += own.members
    members.append(.init("chunkLosses", .array(chunkLosses.map { .number($0) })))
    members.append(.init("seconds", .number(seconds)))
    if let byteCount = evaluation.logitsByteCount {
      members.append(
        .init(
          "logits",
          [
            "path": .string(evaluation.options.logitsPath ?? ""), "byteCount": JSONValue(byteCount),
          ]))
    }
    guard let comparison, let base = evaluation.against else { return .object(members) }
    var against: [JSONValue.Member] = [
      .init("path", .string(base.path)), .init("kind", base.logits == nil ? "model" : "logits"),
      .init("adapters", .array(base.adapters.map(\.record))),
    ]
    against += comparison.base.members
    let ratio = comparison.logRatio
    against += [
      .init("divergence", comparison.divergence.json),
      .init("logPerplexityRatio", .object(ratio.meanMembers)),
      .init("sameTop", .object(comparison.sameTop.meanMembers)),
      .init(
        "probabilityChange",
        .object(
          comparison.probabilityChange.meanMembers + [
            .init("rootMeanSquare", .number(comparison.probabilityChange.rootMeanSquare))
          ])),
    ]
    if let unadapted = comparison.unadapted {
      against.append(
        .init(
          "withoutAdapters",
          .object(
            unadapted.prediction.members + [.init("divergence", unadapted.divergence.json)])))
    }
    if !layerErrors.isEmpty {
      against.append(.init("layerErrors", .array(layerErrors.map { .number($0) })))
    }
    members.append(.init("against", .object(against)))
    return .object(members)
  }
}

extension EvaluationResult.Prediction {
  fileprivate var members: [JSONValue.Member] {
    [
      .init("perplexity", .number(perplexity)),
      .init("perplexityError", perplexityError.map { .number($0) } ?? .null),
      .init("meanLoss", .number(meanLoss)),
    ]
  }
}

extension Sample {
  fileprivate var meanMembers: [JSONValue.Member] {
    [.init("mean", .number(mean)), .init("error", error.map { .number($0) } ?? .null)]
  }

  fileprivate var json: JSONValue {
    .object(
      meanMembers + [
        .init("median", .number(quantile(0.5))),
        .init("quantile99", .number(quantile(0.99))),
        .init("quantile999", .number(quantile(0.999))),
        .init("largest", .number(largest)),
      ])
  }
}
