public import Bytes
public import Formats

extension AdapterExport {
  /// The plan of an export as JSON, as described in `formats/report.md`.
  ///
  /// - Parameter path: The output path as the user gave it.
  /// - Returns: An object with the schema `pleat.plan.1`.
  public func planJSON(path: String) -> JSONValue { json("pleat.plan.1", path, byteCount) }

  /// The result of an export as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - path: The output path as the user gave it.
  ///   - size: How much was written.
  /// - Returns: An object with the schema `pleat.result.1`.
  public func resultJSON(path: String, size: WrittenSize) -> JSONValue {
    json("pleat.result.1", path, size.byteCount)
  }

  private func json(_ schema: String, _ path: String, _ byteCount: Int) -> JSONValue {
    [
      "schema": .string(schema), "path": .string(path), "format": .string(target.rawValue),
      "byteCount": JSONValue(byteCount), "alpha": .number(alpha),
      "modules": .array(
        modules.map { ["name": .string($0.name), "rank": JSONValue($0.rank)] }),
    ]
  }
}
