public import Bytes
public import Formats
internal import TensorModel
internal import Weights

extension MetadataCopy {
  /// The plan of a copy as JSON, as described in `formats/report.md`.
  public var planJSON: JSONValue { json("pleat.plan.1", path: nil, byteCount) }

  /// The result of a copy as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - path: The output path as the user gave it.
  ///   - size: How much was written.
  /// - Returns: An object with the schema `pleat.result.1`.
  public func resultJSON(path: String, size: WrittenSize) -> JSONValue {
    json("pleat.result.1", path: path, size.byteCount)
  }

  private func json(_ schema: String, path: String?, _ byteCount: Int) -> JSONValue {
    .object(
      [.init("schema", .string(schema))]
        + (path.map { [.init("path", .string($0))] } ?? []) + [
          .init("source", .string(model.path)),
          .init("format", .string(model.format.name)),
          .init("files", .array(fileNames.map { .string($0) })),
          .init("byteCount", JSONValue(byteCount)),
          .init("notes", .array(notes.map { .string($0) })),
          .init("changes", .array(changes.changes.map(\.json))),
        ])
  }
}

extension MetadataChanges.Change {
  fileprivate var json: JSONValue {
    [
      "key": .string(key), "type": .string((new ?? old).map { "\($0.type)" } ?? ""),
      "old": old?.json ?? .null, "new": new?.json ?? .null,
    ]
  }
}
