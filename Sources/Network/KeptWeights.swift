internal import Kernels
internal import Synchronization
internal import TensorModel
internal import Weights

/// Matrices of a model that stay in memory, packed for products with one token.
///
/// A matrix is read and packed when it is first used, unless that would exceed the limit. Such ones,
/// and those that have no packed form, are read again each time.
package final class KeptWeights: Sendable {
  /// How many bytes all matrices may take together.
  package let byteLimit: Int
  private let state = Mutex(State())

  private struct State {
    var matrices: [WeightMatrix.Place: PackedMatrix] = [:]
    var byteCount = 0
  }

  package init(byteLimit: Int) { self.byteLimit = byteLimit }

  /// The number of bytes that all matrices take now.
  package var byteCount: Int { state.withLock { $0.byteCount } }

  /// The packed form of a matrix; nil if it is not kept.
  ///
  /// Throws what reading throws.
  func packed(_ matrix: WeightMatrix, by workers: Workers) throws(ModelError) -> PackedMatrix? {
    if let known = state.withLock({ $0.matrices[matrix.place] }) { return known }
    guard let form = matrix.packedForm else { return nil }
    let byteCount = PackedMatrix.byteCount(
      form, rowCount: matrix.rowCount, columnCount: matrix.columnCount)
    let fits = state.withLock { state in
      guard byteCount <= byteLimit - state.byteCount else { return false }
      state.byteCount += byteCount
      return true
    }
    guard fits else { return nil }
    do throws(ModelError) {
      let packed = try matrix.packed(form, by: workers)
      return state.withLock { state in
        // Another thread may have packed it meanwhile.
        if let other = state.matrices[matrix.place] {
          state.byteCount -= byteCount
          return other
        }
        state.matrices[matrix.place] = packed
        return packed
      }
    } catch {
      state.withLock { $0.byteCount -= byteCount }
      throw error
    }
  }
}
