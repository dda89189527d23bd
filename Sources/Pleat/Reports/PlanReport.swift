public import Bytes
internal import Formats
internal import TensorModel
internal import Weights

extension Plan {
  /// The plan as JSON, as described in `formats/report.md`.
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
      .init("tensors", .array(jobs.map(\.json))),
    ])
  }

  /// The plan as JSON, with what each part of it would do with this many worker threads.
  public func json(_ parts: PlanParts, workerCount: Int) -> JSONValue {
    .object((json.members ?? []) + [.init("parts", parts.json(workerCount: workerCount))])
  }

  /// The result of a run as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - path: The output path as the user gave it.
  ///   - outcome: The outcome of the run.
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

extension TensorJob {
  fileprivate var json: JSONValue {
    [
      "name": .string(source.name),
      "shape": source.shape.json,
      "from": source.encoding.json,
      "to": target.encoding.json,
      "action": .string(action.rawValue),
      "reason": .string(reason),
    ]
  }
}

extension Shape {
  var json: JSONValue { .array(dimensions.map { JSONValue($0) }) }
}

extension Encoding {
  /// An object with `type`, and for grouped weights with the description of the groups.
  var json: JSONValue {
    switch self {
    case .plain(let type): ["type": .string(type.name)]
    case .foreign(let layout): ["type": .string(layout.name)]
    case .scaled(let codes):
      [
        "type": "scaled", "codes": .string(codes.name), "scales": .string(codes.scales.name),
        "tile": .array(
          [codes.tileRows, codes.tileColumns].map { $0.map { JSONValue($0) } ?? .null }),
        "tensorScale": .string(codes.factor.rawValue),
      ]
    case .grouped(let grouping):
      [
        "type": "grouped", "bits": JSONValue(grouping.bits),
        "groupSize": JSONValue(grouping.groupSize), "offset": .string(grouping.offset.rawValue),
        "parameters": .string(grouping.parameters.name),
      ]
    }
  }
}
