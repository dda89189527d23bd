public import Bytes

extension FoldReport {
  /// The report as JSON, as described in `formats/report.md`.
  public var json: JSONValue {
    .object(
      total.members + [
        .init("partCount", JSONValue(partCount)), .init("changesNothing", .bool(changesNothing)),
        .init(
          "modules",
          .array(
            tensors.map { tensor in
              .object(
                [
                  .init("name", .string(tensor.name)),
                  .init("action", .string(tensor.action.rawValue)),
                ] + tensor.measurement.members)
            })),
      ])
  }
}

extension FoldMeasurement {
  /// The measurement as a JSON object.
  var json: JSONValue { .object(members) }

  /// The members of the JSON object.
  var members: [JSONValue.Member] {
    [
      .init("adapterError", .number(adapterError)),
      .init("codeCount", JSONValue(codeCount)),
      .init("changedCodeCount", JSONValue(changedCodeCount)),
    ]
  }
}
