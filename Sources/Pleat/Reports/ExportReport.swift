public import Bytes
public import Formats

extension AdapterExport {
  /// What would be written, as JSON; `formats/report.md` describes it.
  ///
  /// - Parameter path: The output as the user named it.
  /// - Returns: An object with the schema `pleat.plan.1`.
  public func planJSON(path: String) -> JSONValue { json("pleat.plan.1", path, byteCount) }

  /// What was written, as JSON.
  ///
  /// - Parameters:
  ///   - path: The output as the user named it.
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
