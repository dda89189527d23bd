internal import Bytes
internal import Formats
internal import Kernels
internal import TensorModel

/// The mix that quantized a model, and the importance matrix that was used, by its history.
struct MixRecord {
  /// The mix.
  let mix: Mix
  /// The importance matrix; nil without one.
  let matrix: MatrixRecord?

  /// Reads the last quantization in a history; nil if it made no mix, or one that was changed.
  init?(_ history: [JSONValue]) {
    guard let index = history.lastIndex(where: { $0["action"]?.string == "quantize" }),
      let name = history[index]["recipe"]?["type"]?.string, let mix = try? Mix.named(name)
    else { return nil }
    // A fold gives biases to groups without any, which are then another type.
    let folds = history[(index + 1)...].contains { $0["action"]?.string == "fold" }
    if folds, case .symmetric = mix.base.groupForm { return nil }
    self.mix = mix
    matrix = history[index]["importance"].flatMap(MatrixRecord.init)
  }
}

extension MatrixRecord {
  /// Reads what `Importance.record` writes; nil for anything else.
  fileprivate init?(_ record: JSONValue) {
    guard let file = record["file"]?.string, let entryCount = record["entries"]?.int,
      let chunkCount = record["chunks"]?.int
    else { return nil }
    self.init(
      file: file, dataset: record["dataset"]?.string, entryCount: entryCount,
      chunkCount: chunkCount)
  }
}

extension Importance {
  /// The entry of the history about the matrix.
  ///
  /// Throws `io`.
  func record() throws(ModelError) -> JSONValue {
    var members: [JSONValue.Member] = [.init("file", .string(matrix.path))]
    if let dataset = matrix.datasets.first { members.append(.init("dataset", .string(dataset))) }
    members.append(.init("entries", JSONValue(matrix.entries.count)))
    members.append(.init("chunks", JSONValue(matrix.chunkCount)))
    members.append(.init("crc32c", .string(try matrix.checksum())))
    return .object(members)
  }
}

extension ImportanceMatrix {
  /// A checksum of all numbers.
  ///
  /// Throws `io`.
  fileprivate func checksum() throws(ModelError) -> String {
    var bytes: [UInt8] = []
    for entry in entries {
      var checksum = CRC32C()
      try entry.forEachSums { (sums) throws(ModelError) in
        checksum.update(sums.littleEndianBytes.span)
      }
      var counts: [UInt8] = []
      for count in entry.counts { counts.append(littleEndian: UInt64(count)) }
      checksum.update(counts.span)
      bytes += Array((entry.name + checksum.text).utf8)
    }
    return CRC32C(of: bytes.span).text
  }
}
