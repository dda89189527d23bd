public import Bytes

extension EvaluationResult {
  /// The result as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - evaluation: The evaluation.
  ///   - path: The path of the model.
  ///   - basePath: The path of the base; nil without one.
  ///   - adapters: The adapters of the base, or of the model without one.
  ///   - seconds: The time that it took.
  /// - Returns: An object with the schema `pleat.eval.1`.
  public func json(
    of evaluation: Evaluation, path: String, basePath: String?, adapters: [AppliedAdapter],
    seconds: Double
  ) -> JSONValue {
    let records = JSONValue.array(adapters.map(\.record))
    let own = model
    var members: [JSONValue.Member] = [
      .init("schema", "pleat.eval.1"),
      .init("path", .string(path)),
      .init("adapters", basePath == nil ? records : .array([])),
      .init("contextLength", JSONValue(evaluation.contextLength)),
      .init("chunkCount", JSONValue(evaluation.chunkCount)),
      .init("scoring", .string(evaluation.options.scoring.rawValue)),
      .init("beginToken", evaluation.beginID.map { JSONValue(Int($0)) } ?? .null),
      .init("tokenCount", JSONValue(predictionCount)),
    ]
    members += own.members
    members.append(.init("chunkLosses", .array(chunkLosses.map { .number($0) })))
    members.append(.init("seconds", .number(seconds)))
    guard let comparison, let basePath else { return .object(members) }
    var against: [JSONValue.Member] = [
      .init("path", .string(basePath)), .init("adapters", records),
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
      .init("perplexityError", .number(perplexityError)),
      .init("meanLoss", .number(meanLoss)),
    ]
  }
}

extension Sample {
  fileprivate var meanMembers: [JSONValue.Member] {
    [.init("mean", .number(mean)), .init("error", .number(error))]
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
