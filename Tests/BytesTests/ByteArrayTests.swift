import Bytes
import Testing

@Suite struct ByteArrayTests {
  @Test("resizing keeps the first bytes, appends zeros, and reuses the memory")
  func resizing() {
    var bytes: [UInt8] = [1, 2, 3, 4]
    bytes.resize(to: 2)
    #expect(bytes == [1, 2])
    bytes.resize(to: 5)
    #expect(bytes == [1, 2, 0, 0, 0])
    bytes.resize(to: 5)
    #expect(bytes == [1, 2, 0, 0, 0])
    let capacity = bytes.capacity
    bytes.resize(to: 0)
    #expect(bytes.isEmpty && bytes.capacity == capacity)
  }
}
