-- The fetch lua.picture: the bytes of the picture that a request carries, wherever its form puts them, for `balance hash`.
-- Two callers who send one picture as a form have different boundaries, and so different bodies.

-- Bytes from its beginning on: where two pictures agree in these, they only go to the same host.
local LENGTH = 65536

core.register_fetches("picture", function(txn)
    local body = txn.sf:req_body()
    local kind = txn.sf:req_fhdr("Content-Type")
    if kind ~= nil and kind:lower():find("multipart/form-data", 1, true) == 1 then
        -- The first part that has a file's name; its content ends where the next boundary begins.
        local _, head = body:find("filename=", 1, true)
        local _, start = body:find("\r\n\r\n", head or 1, true)
        if start ~= nil then
            local boundary = body:match("^%-%-[^\r\n]+")
            local finish = boundary and body:find("\r\n" .. boundary, start + 1, true)
            return body:sub(start + 1, math.min((finish or #body + 1) - 1, start + LENGTH))
        end
    end
    return body:sub(1, LENGTH)
end)
