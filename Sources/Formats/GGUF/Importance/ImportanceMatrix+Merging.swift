public import TensorModel

extension ImportanceMatrix {
  /// Adds up matrices that were measured on one model.
  ///
  /// Sums and counts are added. The result has counts of tokens and the chunk size of the first
  /// matrix that states one; chunks of `.dat` files are taken to have that size. One matrix is
  /// returned as it is.
  ///
  /// - Parameter matrices: The matrices, at least one.
  /// - Returns: The sum.
  /// - Throws: `mismatch` for entries of different sizes, `limit` for sums and counts that become too
  ///   large, `io`, and what `checkNumbers` throws.
  public static func merged(
    _ matrices: [ImportanceMatrix]
  ) throws(ModelError) -> ImportanceMatrix {
    guard let first = matrices.first else {
      throw ModelError(.usage, "there is no importance matrix to add", expected: "at least one")
    }
    for matrix in matrices { try matrix.checkNumbers() }
    guard matrices.count > 1 else { return first }
    let size = matrices.lazy.compactMap(\.chunkSize).first ?? usualChunkSize
    var entries: [Entry] = []
    var origins: [String] = []
    var indices: [ExactName: Int] = [:]
    for matrix in matrices {
      for entry in try matrix.inTokens(chunksOf: size).entries {
        guard let index = indices[ExactName(entry.name)] else {
          indices[ExactName(entry.name)] = entries.count
          entries.append(entry)
          origins.append(matrix.path)
          continue
        }
        do throws(ModelError) { try entries[index].add(entry, origins[index]) } catch {
          throw error.located(file: matrix.path, tensor: entry.name)
        }
      }
    }
    let largest = entries.lazy.flatMap(\.counts).max() ?? 0
    return ImportanceMatrix(
      paths: matrices.flatMap(\.paths), form: .gguf, entries: entries,
      datasets: matrices.flatMap(\.datasets), chunkCount: largest / size, chunkSize: size)
  }
}

extension ImportanceMatrix.Entry {
  /// Adds what another file measured about the same weight; `origin` is the file of this entry.
  fileprivate mutating func add(
    _ other: ImportanceMatrix.Entry, _ origin: String
  ) throws(ModelError) {
    var other = other
    // One count for all matrices stands for an equal count of each.
    let count = max(matrixCount, other.matrixCount)
    if matrixCount == 1 { counts = Array(repeating: counts[0], count: count) }
    if other.matrixCount == 1 { other.counts = Array(repeating: other.counts[0], count: count) }
    guard valueCount == other.valueCount, counts.count == other.counts.count else {
      throw ModelError(
        .mismatch, "the matrices have entries of different sizes",
        expected: "\(size), as \(origin)",
        found: other.size, hint: "add only matrices that were measured on the same model")
    }
    terms += other.terms
    for index in counts.indices { counts[index] += other.counts[index] }
    try checkRange()
  }

  private var size: String {
    matrixCount == 1 ? "\(valueCount) numbers" : "\(matrixCount) × \(columnCount) numbers"
  }
}
