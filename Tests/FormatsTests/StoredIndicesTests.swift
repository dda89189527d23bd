import Formats
import TestSupport
import Testing

@Suite struct StoredIndicesTests {
  @Test(
    "indices that move are those of the same tensors at their new places",
    arguments: [[], [0], [4], [0, 1, 2], [3, 4], [4, 0], [2, 1, 3]])
  func moved(indices: [Int]) {
    let places = [3, 4, 0, 2, 1]
    let moved = StoredIndices(indices).moved(to: places)
    #expect(Array(moved) == indices.map { places[$0] })
    #expect(moved == StoredIndices(indices.map { places[$0] }))
  }
}
