import TensorModel
import TestSupport
import Testing

@Suite struct ShapeTests {
  @Test(
    "a shape counts its elements, rows and columns",
    arguments: [
      ([], 1, 1, 1), ([5], 5, 1, 5), ([2, 3], 6, 2, 3), ([2, 3, 4], 24, 6, 4), ([0], 0, 0, 0),
      ([0, 4], 0, 0, 4), ([4, 0], 0, 0, 0), ([2, 0, 3], 0, 0, 3), ([1, 1, 1], 1, 1, 1),
    ])
  func counts(dimensions: [Int], elements: Int, rows: Int, columns: Int) throws {
    let shape = try #require(Shape(validating: dimensions))
    #expect(shape.rank == dimensions.count)
    #expect(shape.elementCount == elements)
    #expect(shape.rowCount == rows)
    #expect(shape.columnCount == columns)
  }

  @Test(
    "negative or too large dimensions give no shape",
    arguments: [
      [-1], [2, -3], [.min], [.max, 2], [1 << 32, 1 << 31], [0, -1], [3, .max, 3],
      [1 << 32, 1 << 32, 0],
    ])
  func impossible(dimensions: [Int]) {
    #expect(Shape(validating: dimensions) == nil)
  }

  @Test("a shape is described by its dimensions") func description() {
    #expect(Shape().description == "scalar")
    #expect(Shape(7).description == "7")
    #expect(Shape(2, 3, 4).description == "2×3×4")
  }
}
