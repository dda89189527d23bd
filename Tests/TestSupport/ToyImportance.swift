internal import TensorModel

/// An entry of a small importance matrix, and minimal writers of both forms of its files.
package struct ToyImportance: Sendable {
  /// The name of the weight.
  package var name: String
  /// The sums of all matrices; in a `.dat` file, the means times the number of chunks.
  package var sums: [Float]
  /// The counts of the matrices; in a `.dat` file, one number of chunks.
  package var counts: [Float]

  /// Creates an entry.
  package init(_ name: String, _ sums: [Float], _ counts: [Float]) {
    (self.name, self.sums, self.counts) = (name, sums, counts)
  }

  /// A metadata key, with the type and the bytes of its value.
  package typealias Key = (name: String, type: UInt32, bytes: [UInt8])

  /// The keys that llama-imatrix writes.
  package static func keys(
    datasets: [String] = ["a.txt"], chunkCount: UInt32 = 2, chunkSize: UInt32 = 4
  ) -> [Key] {
    [
      ("general.type", 8, text("imatrix")),
      (
        "imatrix.datasets", 9,
        Numbers.little(UInt32(8)) + Numbers.little(UInt64(datasets.count))
          + datasets.flatMap(text)
      ),
      ("imatrix.chunk_count", 4, Numbers.little(chunkCount)),
      ("imatrix.chunk_size", 4, Numbers.little(chunkSize)),
    ]
  }

  /// The tensors of some entries, each with the number of its GGML type.
  package static func tensors(_ entries: [ToyImportance]) -> [(Toy, typeNumber: UInt32)] {
    entries.flatMap { entry -> [(Toy, typeNumber: UInt32)] in
      let count = entry.counts.count
      let columns = entry.sums.count / max(1, count)
      return [
        (
          Toy(
            entry.name + ".in_sum2", .f32, count > 1 ? [count, columns] : [columns], entry.sums), 0
        ),
        (Toy(entry.name + ".counts", .f32, count > 1 ? [count, 1] : [1], entry.counts), 0),
      ]
    }
  }

  /// The bytes of a GGUF file.
  package static func gguf(_ entries: [ToyImportance], _ keys: [Key] = keys()) -> [UInt8] {
    gguf(tensors: tensors(entries), keys)
  }

  /// The bytes of a GGUF file with any tensors.
  package static func gguf(
    tensors: [(Toy, typeNumber: UInt32)], _ keys: [Key] = keys()
  ) -> [UInt8] {
    let plain = ToyFiles.gguf(tensors, metadata: [])
    let start = 4 + 4 + 8 + 8
    var bytes = Array(plain[..<(start - 8)]) + Numbers.little(UInt64(keys.count))
    for key in keys { bytes += text(key.name) + Numbers.little(key.type) + key.bytes }
    // The data stays aligned: the padding after the descriptions is made anew.
    let descriptions = tensors.reduce(0) {
      $0 + 8 + $1.0.name.utf8.count + 16 + 8 * $1.0.shape.count
    }
    bytes += plain[start..<start + descriptions]
    bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)
    return bytes + plain[((start + descriptions + 31) / 32 * 32)...]
  }

  /// The bytes of a `.dat` file; the oldest ones end after the entries.
  package static func data(
    _ entries: [ToyImportance], chunkCount: Int32 = 2, dataset: String = "a.txt",
    isOldest: Bool = false
  ) -> [UInt8] {
    var bytes = Numbers.little(Int32(entries.count))
    for entry in entries {
      bytes += Numbers.little(Int32(entry.name.utf8.count)) + Array(entry.name.utf8)
      bytes += Numbers.little(Int32(entry.counts[0])) + Numbers.little(Int32(entry.sums.count))
      bytes += Numbers.f32(entry.sums)
    }
    guard !isOldest else { return bytes }
    return bytes + Numbers.little(chunkCount) + Numbers.little(Int32(dataset.utf8.count))
      + Array(dataset.utf8)
  }

  private static func text(_ text: String) -> [UInt8] {
    Numbers.little(UInt64(text.utf8.count)) + Array(text.utf8)
  }
}
