internal import Bytes
internal import Formats
internal import TensorModel
internal import TestSupport

/// The laws of the reader and the writer of importance matrices.
enum MatrixLaws {
  /// Describes the law that a file breaks; nil if it breaks none.
  ///
  /// Throws what reading the file throws.
  static func broken(
    by path: String, in scratch: Scratch, limits: ReadLimits
  ) throws(ModelError) -> String? {
    let matrix = try ImportanceMatrix.open(path, limits: limits)
    guard matrix.faults.isEmpty else { return nil }
    guard try haveSameContents(try ImportanceMatrix.read(path, limits: limits), matrix) else {
      return "a matrix differs when it is read a second time"
    }
    for entry in matrix.entries {
      let weights = try entry.weights(in: 0..<entry.valueCount)
      guard !weights.allSatisfy({ $0 >= 0 && $0.isFinite }) else { continue }
      return "the importance in \(entry.name) is negative or not finite"
    }
    for form in ImportanceMatrix.Form.allCases {
      guard let bytes = try bytes(of: matrix, form) else { continue }
      do {
        let written = try ImportanceMatrix.read(
          try scratch.write(bytes, as: "written"), limits: limits)
        guard try form != matrix.form || haveSameEntries(written, matrix) else {
          return "a matrix differs when it is written and read again"
        }
      } catch {
        return "a matrix that was written cannot be read: \(error)"
      }
    }
    do throws(ModelError) {
      let sum = try ImportanceMatrix.merged([matrix, matrix])
      return sum.entries.map(\.name) == matrix.entries.map(\.name)
        ? nil : "the sum of a matrix and itself has other entries"
    } catch {
      return error.kind == .limit ? nil : "a matrix cannot be added to itself: \(error)"
    }
  }

  /// Whether two matrices hold the same numbers with the same origin.
  private static func haveSameContents(
    _ one: ImportanceMatrix, _ other: ImportanceMatrix
  ) throws(ModelError) -> Bool {
    guard one.form == other.form, one.datasets == other.datasets,
      one.chunkCount == other.chunkCount, one.chunkSize == other.chunkSize
    else { return false }
    return try haveSameEntries(one, other)
  }

  private static func haveSameEntries(
    _ one: ImportanceMatrix, _ other: ImportanceMatrix
  ) throws(ModelError) -> Bool {
    guard one.entries.count == other.entries.count else { return false }
    for (one, other) in zip(one.entries, other.entries) {
      let all = 0..<one.valueCount
      guard one.name == other.name, one.counts == other.counts, all.count == other.valueCount,
        try one.sums(in: all) == other.sums(in: all)
      else { return false }
    }
    return true
  }

  /// The bytes of a file; nil if the form cannot hold the matrix.
  private static func bytes(
    of matrix: ImportanceMatrix, _ form: ImportanceMatrix.Form
  ) throws(ModelError) -> [UInt8]? {
    var bytes: [UInt8] = []
    do throws(ModelError) {
      try matrix.forEachPiece(as: form) { (piece) throws(ModelError) in bytes += piece }
    } catch {
      guard [.unsupported, .limit].contains(error.kind) else { throw error }
      return nil
    }
    return bytes
  }
}
