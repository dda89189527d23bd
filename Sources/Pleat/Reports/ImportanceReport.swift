public import Bytes
internal import Formats
internal import TensorModel

extension ImportanceInspection {
  /// The inspection as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - entries: The indices of the entries to list, in order; nil to list none.
  ///   - statistics: The distributions of the numbers of some of these, by index.
  /// - Returns: An object with the schema `pleat.inspect.1`.
  public func json(entries: [Int]?, statistics: [Int: Statistics] = [:]) -> JSONValue {
    var members: [JSONValue.Member] = [
      .init("schema", "pleat.inspect.1"),
      .init("path", .string(matrix.path)),
      .init("format", .string(matrix.form.rawValue)),
      .init("kind", "importanceMatrix"),
      .init("byteCount", JSONValue(byteCount)),
      .init("datasets", .array(matrix.datasets.map { .string($0) })),
      .init("chunkCount", JSONValue(matrix.chunkCount)),
      .init("chunkSize", matrix.chunkSize.map { JSONValue($0) } ?? .null),
      .init("entryCount", JSONValue(matrix.entries.count)),
      .init("valueCount", JSONValue(matrix.valueCount)),
      .init("partialCount", JSONValue(partialCount)),
      .init("valid", .bool(isValid)),
      .init("faults", .array(matrix.faults.map(\.json))),
    ]
    if let entries {
      members.append(
        .init("entries", .array(entries.map { json($0, statistics[$0]) })))
    }
    return .object(members)
  }

  private func json(_ index: Int, _ statistics: Statistics?) -> JSONValue {
    let entry = matrix.entries[index]
    var members: [JSONValue.Member] = [
      .init("name", .string(entry.name)),
      .init("matrixCount", JSONValue(entry.matrixCount)),
      .init("columnCount", JSONValue(entry.columnCount)),
      .init("counts", .array(entry.counts.map { JSONValue($0) })),
      .init("unseen", .array(entry.unseen.map { JSONValue($0) })),
    ]
    if let found = statistics {
      members.append(
        .init(
          "statistics",
          [
            "minimum": .number(Double(found.minimum)), "maximum": .number(Double(found.maximum)),
            "mean": .number(found.mean),
          ]))
    }
    return .object(members)
  }
}

extension ImportanceCopy {
  /// The plan as JSON, as described in `formats/report.md`.
  public var planJSON: JSONValue { json("pleat.plan.1", isResult: false) }

  /// The result as JSON, as described in `formats/report.md`.
  public var resultJSON: JSONValue { json("pleat.result.1", isResult: true) }

  private func json(_ schema: String, isResult: Bool) -> JSONValue {
    .object(
      [.init("schema", .string(schema))] + (isResult ? [.init("path", .string(path))] : []) + [
        .init("sources", .array(sources.map { .string($0) })),
        .init("format", .string(form.rawValue)),
        .init("kind", "importanceMatrix"),
        .init("byteCount", JSONValue(byteCount)),
        .init("entryCount", JSONValue(matrix.entries.count)),
        .init("notes", .array(notes.map { .string($0) })),
      ])
  }
}
