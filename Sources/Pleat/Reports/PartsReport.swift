public import Bytes

extension PlanParts {
  /// The parts as JSON with this many worker threads, as described in `formats/report.md`.
  public func json(workerCount: Int) -> JSONValue {
    .array(
      parts.map { part in
        [
          "part": JSONValue(part.number),
          "tensorCount": JSONValue(part.tensorCount),
          "sourceByteCount": JSONValue(part.sourceByteCount),
          "targetByteCount": JSONValue(part.targetByteCount),
          "seconds": .number(part.seconds),
          "memoryByteCount": JSONValue(memoryByteCount(of: part, workerCount: workerCount)),
        ]
      })
  }
}

extension PartRun.Outcome {
  /// What a part has written as JSON, as described in `formats/report.md`.
  ///
  /// `path` is the output path as the user gave it.
  public func json(_ part: PartNumber, path: String) -> JSONValue {
    .object(
      [
        .init("schema", "pleat.part.1"),
        .init("path", .string(path)),
        .init("part", JSONValue(part.number)),
        .init("partCount", JSONValue(part.count)),
        .init("byteCount", JSONValue(byteCount)),
        .init("blockCount", JSONValue(blockCount)),
        .init("keptBlockCount", JSONValue(keptBlockCount)),
      ] + (fold.map { [.init("fold", $0.json)] } ?? []))
  }
}

extension CalibrationParts.Outcome {
  /// What a part has measured as JSON, as described in `formats/report.md`.
  ///
  /// `path` is the output path as the user gave it.
  public func json(_ part: PartNumber, path: String) -> JSONValue {
    [
      "schema": "pleat.part.1",
      "path": .string(path),
      "part": JSONValue(part.number),
      "partCount": JSONValue(part.count),
      "chunkCount": JSONValue(chunkCount),
      "keptChunkCount": JSONValue(keptChunkCount),
    ]
  }
}
