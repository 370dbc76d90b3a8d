"""A web feature service with three polygons; a process of its own, since QGIS waits for it."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

NAMES = (
    'xmlns:wfs="http://www.opengis.net/wfs" xmlns:ows="http://www.opengis.net/ows" '
    'xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:t="http://tilth/t"'
)
CAPABILITIES = """<wfs:WFS_Capabilities version="1.1.0" {names}>
<ows:OperationsMetadata>{operations}</ows:OperationsMetadata>
<wfs:FeatureTypeList>
<wfs:Operations><wfs:Operation>Query</wfs:Operation></wfs:Operations>
<wfs:FeatureType><wfs:Name>t:drawn</wfs:Name><wfs:Title>drawn</wfs:Title>
<wfs:DefaultSRS>urn:ogc:def:crs:EPSG::32630</wfs:DefaultSRS>
<ows:WGS84BoundingBox><ows:LowerCorner>-3 54</ows:LowerCorner>
<ows:UpperCorner>-2 55</ows:UpperCorner></ows:WGS84BoundingBox>
</wfs:FeatureType></wfs:FeatureTypeList></wfs:WFS_Capabilities>"""
OPERATION = (
    '<ows:Operation name="{name}"><ows:DCP><ows:HTTP><ows:Get xlink:href="{url}?"/></ows:HTTP>'
    "</ows:DCP></ows:Operation>"
)
SCHEMA = """<schema xmlns="http://www.w3.org/2001/XMLSchema" xmlns:gml="http://www.opengis.net/gml"
 xmlns:t="http://tilth/t" targetNamespace="http://tilth/t" elementFormDefault="qualified">
<import namespace="http://www.opengis.net/gml"/>
<complexType name="drawnType"><complexContent><extension base="gml:AbstractFeatureType"><sequence>
<element name="geometry" type="gml:PolygonPropertyType" minOccurs="0"/>
<element name="class" type="string" minOccurs="0"/>
</sequence></extension></complexContent></complexType>
<element name="drawn" type="t:drawnType" substitutionGroup="gml:_Feature"/></schema>"""
MEMBER = (
    '<gml:featureMember><t:drawn gml:id="drawn.{number}"><t:geometry>'
    '<gml:Polygon srsName="urn:ogc:def:crs:EPSG::32630"><gml:exterior><gml:LinearRing>'
    "<gml:posList>{points}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>"
    "</t:geometry><t:class>{name}</t:class></t:drawn></gml:featureMember>"
)


def features():
    members = ""
    for number, name in enumerate(["wood", "meadow", "wood"]):
        x = 500000 + 20 * number
        points = f"{x} 0 {x + 10} 0 {x + 10} 10 {x} 10 {x} 0"
        members += MEMBER.format(number=number, name=name, points=points)
    return f'<wfs:FeatureCollection {NAMES} numberOfFeatures="3">{members}</wfs:FeatureCollection>'


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        query = {
            key.lower(): value[0] for key, value in parse_qs(urlparse(self.path).query).items()
        }
        url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        names = ("GetCapabilities", "DescribeFeatureType", "GetFeature")
        operations = "".join(OPERATION.format(name=name, url=url) for name in names)
        answers = {
            "getcapabilities": CAPABILITIES.format(names=NAMES, operations=operations),
            "describefeaturetype": SCHEMA,
            "getfeature": features(),
        }
        body = answers[query.get("request", "").lower()].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
print(server.server_address[1], flush=True)
sys.stdout.close()
server.serve_forever()
