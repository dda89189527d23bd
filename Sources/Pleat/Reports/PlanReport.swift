public import Bytes
internal import Formats
internal import TensorModel

extension Plan {
  /// The plan as JSON; `formats/report.md` describes it.
  public var json: JSONValue {
    .object([
      .init("schema", "pleat.plan.1"),
      .init("source", .string(model.path)),
      .init("format", .string(format.name)),
      .init("files", .array(fileNames.map { .string($0) })),
      .init("byteCount", JSONValue(byteCount)),
      .init("byteCountIsExact", .bool(isExact)),
      .init("weightCount", JSONValue(elementCount)),
      .init("bitsPerWeight", .number(bitsPerWeight)),
      .init("notes", .array(notes.map { .string($0) })),
      .init("tensors", .array(tensors.map(\.json))),
    ])
  }

  /// What was written, as JSON.
  ///
  /// - Parameters:
  ///   - path: The output as the user named it.
  ///   - outcome: What the run has done.
  /// - Returns: An object with the schema `pleat.result.1`.
  public func resultJSON(path: String, _ outcome: Run.Outcome) -> JSONValue {
    let size = outcome.size
    var members = json.members ?? []
    members[0].value = "pleat.result.1"
    members.insert(.init("path", .string(path)), at: 1)
    if let index = members.firstIndex(where: { $0.key == "byteCount" }) {
      members[index].value = JSONValue(size.byteCount)
    }
    if let index = members.firstIndex(where: { $0.key == "bitsPerWeight" }) {
      members[index].value = .number(bitsPerWeight(of: size))
    }
    members.removeAll { $0.key == "byteCountIsExact" }
    if let fold = outcome.fold { members.append(.init("fold", fold.json)) }
    return .object(members)
  }
}

extension TensorPlan {
  fileprivate var json: JSONValue {
    [
      "name": .string(source.name),
      "shape": source.shape.json,
      "from": source.encoding.json,
      "to": target.encoding.json,
      "action": .string(action.name),
      "reason": .string(reason),
    ]
  }
}

extension Action {
  /// The name in reports: copy, quantize, decode, respell, merge, shift, replace
  /// or omit.
  public var name: String {
    switch self {
    case .copy: "copy"
    case .quantize: "quantize"
    case .decode: "decode"
    case .respell: "respell"
    case .merge: "merge"
    case .shift: "shift"
    case .replace: "replace"
    case .omit: "omit"
    }
  }
}

extension Shape {
  var json: JSONValue { .array(dimensions.map { JSONValue($0) }) }
}

extension Encoding {
  /// An object with `type`; for grouped weights with all that describes the groups.
  var json: JSONValue {
    switch self {
    case .plain(let type): ["type": .string(type.name)]
    case .foreign(let layout): ["type": .string(layout.name)]
    case .grouped(let grouping):
      [
        "type": "grouped", "bits": JSONValue(grouping.bits),
        "groupSize": JSONValue(grouping.groupSize), "offset": .string(grouping.offset.rawValue),
        "parameters": .string(grouping.parameters.name),
      ]
    }
  }
}
