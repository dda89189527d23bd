public import Bytes

extension FoldReport {
  /// What survived of adapters, as JSON; `formats/report.md` describes it.
  public var json: JSONValue {
    .object(
      total.members + [
        .init(
          "modules",
          .array(
            modules.map { module in
              .object(
                [
                  .init("name", .string(module.name)),
                  .init("action", .string(module.action.name)),
                ] + module.measurement.members)
            }))
      ])
  }
}

extension FoldMeasurement {
  /// What was measured, as an object.
  var json: JSONValue { .object(members) }

  /// The members of that object.
  var members: [JSONValue.Member] {
    [
      .init("adapterError", .number(adapterError)),
      .init("codeCount", JSONValue(codeCount)),
      .init("changedCodeCount", JSONValue(changedCodeCount)),
    ]
  }
}
