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
    guard try ImportanceMatrix.read(path, limits: limits).hasSameContents(as: matrix) else {
      return "a matrix differs when it is read a second time"
    }
    for entry in matrix.entries where !entry.weights.allSatisfy({ $0 >= 0 && $0.isFinite }) {
      return "the importance in \(entry.name) is negative or not finite"
    }
    for form in ImportanceMatrix.Form.allCases {
      guard let bytes = try bytes(of: matrix, form) else { continue }
      do {
        let written = try ImportanceMatrix.read(
          try scratch.write(bytes, as: "written"), limits: limits)
        guard form != matrix.form || written.entries == matrix.entries else {
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
